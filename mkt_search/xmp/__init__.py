"""Keywords and captions in XMP: sidecars beside photos, and packets inside them."""
