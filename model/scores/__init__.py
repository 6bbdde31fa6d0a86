"""Scores: functions of labels and probabilities."""
