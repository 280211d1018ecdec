"""Models: students, label encoders, checkpoints, and open_clip models as either."""
