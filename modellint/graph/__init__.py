"""The plain Graph of roles that the recorder lowers a real step to. Imports no torch."""
