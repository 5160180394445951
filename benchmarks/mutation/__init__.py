"""Faults that a program writes into training code of others, as edits of its text."""
