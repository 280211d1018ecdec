"""Where vectors and facts are kept: SQL is the truth, segments hold vectors, FAISS is a cache."""
