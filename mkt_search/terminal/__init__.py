"""The terminal: options, tables, JSON and progress that all commands share."""
