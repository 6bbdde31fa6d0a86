"""Scores of predictions: functions of label vectors and probabilities."""
