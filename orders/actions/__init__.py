"""What orders writes, by noun."""
