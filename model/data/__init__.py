"""A published dataset as batches."""
