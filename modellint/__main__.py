"""`python -m modellint`."""

from .cli import main

main()
