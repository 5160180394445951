"""The vocabulary that every layer speaks: diagnostics, rules, settings. Standard library only."""
