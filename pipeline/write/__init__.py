"""Writes planned shards: records, the writer, the Beam transform."""
