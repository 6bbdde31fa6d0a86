"""The synthetic atlas: drawn examples in Kaggle's layout."""
