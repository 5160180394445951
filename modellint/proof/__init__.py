"""The same command again: as found and with remedies, judged by its loss; which cause is the root, and which fix cures."""
