"""Events with their fields to lines on standard error: for people on a terminal, JSON otherwise.

The standard library does it: a logging library would bring 4 to 11 MB into a process that runs on every node.
"""

import logging
import sys
from datetime import UTC, datetime
from typing import Final

import msgspec

_LOGGER: Final = logging.getLogger("collector")


class Log:
    """Events of this process: a lower-case name each, and values as fields."""

    def info(self, event: str, **fields: object) -> None:
        """It goes as it should."""
        _LOGGER.info(event, extra={"fields": fields})

    def warning(self, event: str, **fields: object) -> None:
        """It does not, and goes on by itself."""
        _LOGGER.warning(event, extra={"fields": fields})

    def error(self, event: str, **fields: object) -> None:
        """Somebody has to do something."""
        _LOGGER.error(event, extra={"fields": fields})


log: Final = Log()


class _Json(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        return msgspec.json.encode(_fields(record)).decode()


class _Text(logging.Formatter):
    """Time, level, event, and what belongs to it."""

    def format(self, record: logging.LogRecord) -> str:
        fields = _fields(record)
        words = [str(fields.pop(name)) for name in ("timestamp", "level", "event")]
        return " ".join([*words, *(f"{name}={value}" for name, value in fields.items())])


def configure_logs() -> None:
    """Take effect for all events of this process."""
    lines = logging.StreamHandler(sys.stderr)
    lines.setFormatter(_Text() if sys.stderr.isatty() else _Json())
    _LOGGER.handlers = [lines]
    _LOGGER.propagate = False
    _LOGGER.setLevel(logging.INFO)


def _fields(record: logging.LogRecord) -> dict[str, object]:
    fields = record.__dict__.get("fields", {})
    time = datetime.fromtimestamp(record.created, UTC).isoformat().replace("+00:00", "Z")
    return {**fields, "event": record.getMessage(), "level": record.levelname.lower(), "timestamp": time}
