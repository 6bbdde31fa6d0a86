"""Decodes image files and stacks their pixels."""
