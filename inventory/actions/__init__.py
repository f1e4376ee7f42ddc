"""What inventory writes, by noun."""
