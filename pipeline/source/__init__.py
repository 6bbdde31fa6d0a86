"""Inspection of a source before a build: draft of a schema, check, ranges of values."""
