"""The scenes of the demo world: words, shapes, places and photos."""
