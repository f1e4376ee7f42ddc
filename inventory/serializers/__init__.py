"""What the API shows and takes of products, stock and reservations."""
