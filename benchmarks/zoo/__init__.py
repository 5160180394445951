"""Healthy public models at their default initialisation: `models()` of each library's module gives them by name."""
