"""Settings: every option with its default, read from flags, environment and `mkt.toml`."""
