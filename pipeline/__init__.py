"""Builds sharded, split, verified TFRecords from four greyscale filter images per example."""
