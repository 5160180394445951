"""What a user can mend: shown as one line, exit code 2."""

from __future__ import annotations


class UsageError(Exception):
    """A mistake in the command line, the configuration or a rule file; its text says where and what to do."""
