"""What learns: losses, heads, teacher, optimizer and prompt."""
