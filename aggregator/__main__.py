"""Environment to a running aggregator: `python -m aggregator`, and `python -m aggregator schema` for the tables."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import sys
import time
from random import SystemRandom
from typing import TYPE_CHECKING, Final

import structlog

from aggregator.quiet import OnceAMinute
from aggregator.schema import apply_schema
from aggregator.service import Clocks, StartError, serve
from aggregator.settings import Settings, SettingsError
from aggregator.write import ClickHouse, ClickHouseUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

PATIENCE_SECONDS: Final = 60.0
"""How long a start waits for Kafka and ClickHouse."""
ATTEMPT_SECONDS: Final = 2.0
INTERRUPTED: Final = 130


def main(words: Sequence[str] | None = None) -> int:
    """Run until SIGTERM; the exit status. A failure is one message on standard error."""
    parser = argparse.ArgumentParser(
        prog="kubenetinsight aggregator", description="Flow records and drops in Kafka to rows in ClickHouse."
    )
    parser.add_argument(
        "command",
        nargs="?",
        choices=("run", "schema"),
        default="run",
        help="run (the default): a worker, as the KNI_ variables say; schema: make ClickHouse's tables, or update them",
    )
    arguments = parser.parse_args(words)
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(levelname)s %(name)s: %(message)s")
    logging.getLogger().handlers[0].addFilter(OnceAMinute(time.monotonic))
    structlog.configure(processors=_processors(), logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    try:
        settings = Settings.from_environment(os.environ)
        if arguments.command == "schema":
            _wait_for("ClickHouse", lambda: _ping(settings), where=settings.clickhouse)
            count = len(apply_schema(settings))
            print(f"applied {count} files to {settings.clickhouse_database} at {settings.clickhouse}")
            return 0
        return asyncio.run(serve(settings, Clocks(time.time_ns, time.monotonic, SystemRandom()), wait_for=_wait_for))
    except (SettingsError, StartError, ClickHouseUnavailableError) as error:
        print(f"kubenetinsight aggregator: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return INTERRUPTED


def _wait_for(what: str, problem: Callable[[], str], *, where: str) -> None:
    """Try until `problem` is empty; says meanwhile that it waits. Raises: StartError after a minute."""
    log = structlog.get_logger()
    deadline = time.monotonic() + PATIENCE_SECONDS
    while found := problem():
        if time.monotonic() > deadline:
            raise StartError(
                f"{what} at {where} did not answer for {PATIENCE_SECONDS:.0f} s ({found}): start it, or set its address"
            )
        log.warning("waits for a server", server=what, address=where, problem=found)
        time.sleep(ATTEMPT_SECONDS)


def _ping(settings: Settings) -> str:
    try:
        ClickHouse(settings, database="default").command("SELECT 1")
    except ClickHouseUnavailableError as error:
        return error.detail
    return ""


def _processors() -> list[structlog.typing.Processor]:
    last: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer() if sys.stderr.isatty() else structlog.processors.JSONRenderer()
    )
    return [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        last,
    ]


if __name__ == "__main__":
    sys.exit(main())
