"""The commands of `mkt` that need neither the indexer nor the training."""
