"""What the API of messaging shows and takes; by noun."""
