"""`python -m modellint`."""

import sys
from pathlib import Path

# A `copy.py` in the folder that it is called in must not be imported.
if not sys.flags.safe_path and Path(sys.path[0]) != Path(__file__).parents[1]:
    del sys.path[0]

from .cli import main

main()
