"""FAISS: the 4-bit candidate index and the exact scan."""
