"""The command line: thin. What needs no options is done without the library that reads them."""

from __future__ import annotations

import errno
import os
import sys
from typing import TYPE_CHECKING, Any, NoReturn

from modellint.core.errors import UsageError

from . import plain

if TYPE_CHECKING:
    from .group import cli

FULL = (errno.ENOSPC, errno.EDQUOT)


def main() -> NoReturn:
    """The console script: what a user can mend is one line and exit code 2, never a traceback of ours."""
    try:
        plain.check(sys.argv[1:])
        _command()
    except UsageError as error:
        message = str(error)
    except Exception as error:
        if os.environ.get("MODELLINT_DEBUG"):
            raise
        hint = "(MODELLINT_DEBUG=1 shows the traceback; please report it)"
        message = f"internal error: {type(error).__name__}: {error} {hint}"
        if isinstance(error, OSError) and error.errno in FULL:
            message = f"the report cannot be written: {error.strerror}"
    from .output import fail

    fail(message)


def _command() -> NoReturn:
    import click

    from .group import cli

    try:
        sys.exit(cli.main(standalone_mode=False))
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except click.Abort:
        plain.interrupted()


def __getattr__(name: str) -> Any:
    if name != "cli":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from .group import cli

    return cli


__all__ = ["cli", "main"]
