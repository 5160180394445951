"""Why an edit does not fit the source that it is meant for."""


class Refused(Exception):
    """The reason, in words that follow "not fixed: "."""
