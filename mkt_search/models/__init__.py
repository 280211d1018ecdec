"""What a vector is: students, label encoders, checkpoints."""
