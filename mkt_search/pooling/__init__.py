"""Pooling: from all patches of a photo to the few local vectors that are stored."""
