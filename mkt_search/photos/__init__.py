"""Photos: decode files to upright pixels, and read what a file says about itself."""
