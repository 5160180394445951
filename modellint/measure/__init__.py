"""From a command to a Run: launch it under the recorder, read what the recorder wrote. Imports no torch."""
