"""The audit as one offline page: what each chart shows, as plain data that the templates draw."""
