"""One module a format: `render(report, **context)` gives the text."""
