"""From the label table: examples, splits, shards."""
