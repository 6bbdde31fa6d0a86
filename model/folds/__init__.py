"""Cross-validation: one run for each fold, by group and at random, and what the runs score together."""
