"""Segment files: immutable, checksummed arrays of coded vectors."""
