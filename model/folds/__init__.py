"""Cross-validation: one run for each fold, by group and at random, and their joint scores."""
