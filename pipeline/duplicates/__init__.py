"""Duplicates: fingerprints of examples, similar pairs, and the groups that keep them in one split."""
