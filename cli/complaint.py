"""What went wrong to one message for the person at the terminal."""


class Complaint(Exception):  # noqa: N818 - it is said to a person, not raised at a programmer
    """Says what is wrong, where, and what to do; the command prints it and exits with status 1."""
