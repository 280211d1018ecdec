"""Training of the built-in demo models."""
