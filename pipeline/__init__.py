"""From four greyscale filter images per example to sharded, split, verified TFRecords."""
