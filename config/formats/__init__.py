"""Formats of the pages, by language."""
