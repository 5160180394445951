"""One module a command: the function `command`."""
