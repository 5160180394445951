"""Where modellint meets other tools."""
