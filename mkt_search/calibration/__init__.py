"""Calibration: from a score to the probability that a photo shows a label."""
