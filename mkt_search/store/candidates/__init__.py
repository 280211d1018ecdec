"""Candidates: which photos to score exactly, and the measured recall of that choice."""
