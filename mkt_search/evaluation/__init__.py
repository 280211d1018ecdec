"""Evaluation: the paper's protocol, retrieval measures and recall of the candidate index."""
