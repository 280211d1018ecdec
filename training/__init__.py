"""Knowledge in: datasets, losses, stages."""
