"""A library on disk: a SQL catalog that is the truth, segment files of vectors, a FAISS cache."""
