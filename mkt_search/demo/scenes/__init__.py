"""The demo world: its words, shapes and places, and scenes rendered from them."""
