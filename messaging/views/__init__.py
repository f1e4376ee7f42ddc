"""The providers' call-backs, and the API of messaging; by noun."""
