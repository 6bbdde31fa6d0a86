"""The training loop, its records and its checkpoints."""
