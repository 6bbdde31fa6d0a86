"""A published dataset: proof, metadata, publication, verification."""
