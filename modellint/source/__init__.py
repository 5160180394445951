"""A script, read and never run: bytes to the facts that rules ask of."""
