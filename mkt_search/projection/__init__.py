"""The map of a library: every photo as a point of a plane, alike ones side by side."""
