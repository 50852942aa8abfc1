"""Trouble to message: what the lab tells its user when it cannot go on."""


class LabError(Exception):
    """One message that says what is wrong, where, and what to do."""
