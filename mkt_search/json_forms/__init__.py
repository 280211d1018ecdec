"""The JSON of `--json` and of the web: hits, runs and the state of a library."""
