"""Everything that the label table decides: examples, splits, shard plans."""
