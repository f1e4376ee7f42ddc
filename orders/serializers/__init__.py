"""What the API shows and takes of orders and what hangs on them."""
