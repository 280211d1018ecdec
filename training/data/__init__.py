"""Photos, labels and label vectors as a training run sees them."""
