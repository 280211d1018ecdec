"""Photos in: walk -> load -> encode -> pool -> store."""
