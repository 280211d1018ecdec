"""Labeled photos and their splits, read from files in the layouts of published datasets."""
