"""A folder of images and a table, looked at before it is built: draft of a schema, check, ranges of values."""
