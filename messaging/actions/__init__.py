"""What messaging writes, by noun."""
