"""A Report in each of its formats."""
