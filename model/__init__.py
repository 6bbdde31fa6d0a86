"""A multi-label classifier of protein localisations, trained from the published shards."""
