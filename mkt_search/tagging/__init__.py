"""Tagging: which labels of a vocabulary go to which photo, and export of tags."""
