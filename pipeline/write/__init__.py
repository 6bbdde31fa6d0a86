"""From shard plans to shards: records, the writer, the Beam transform."""
