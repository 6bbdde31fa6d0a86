"""A trained model in use: predictions and exported models."""
