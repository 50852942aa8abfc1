"""Command line to the whole system on this machine's interfaces: `kubenetinsight up`, until Ctrl-C."""

from __future__ import annotations

import argparse
import re
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from standalone.address import UsageError, parse_address
from standalone.display import Display
from standalone.processes import ChildError, interrupted_by_signals, wait_for_end
from standalone.questions import EXAMPLE
from standalone.settings import from_environment
from standalone.system import Collector, System, Wanted, running_system

if TYPE_CHECKING:
    from collections.abc import Sequence

    from standalone.settings import Settings

INTERFACE = re.compile(r"[^=,\s/]{1,15}(=(auto|xdp|tc))?\Z")
HTTP_URL = re.compile(r"https?://[^/\s]+/?\Z")


def parse(arguments: Sequence[str], settings: Settings) -> Settings:
    """The settings with what the command line says over them.

    Raises:
        UsageError: an interface, address or URL that is none.
    """
    parser = argparse.ArgumentParser(
        prog="kubenetinsight up", description="Run the whole system on this machine's interfaces, until Ctrl-C."
    )
    parser.add_argument(
        "--interface",
        action="append",
        default=[],
        metavar="NAME[=auto|xdp|tc]",
        help="an uplink to watch and how to attach to it; may be repeated; default: that of the default route",
    )
    parser.add_argument("--kafka", metavar="HOST:PORT", help="a Kafka to use instead of the embedded one")
    parser.add_argument("--clickhouse", metavar="URL", help="a ClickHouse to use instead of the embedded one")
    parser.add_argument(
        "--data",
        type=Path,
        default=settings.data,
        metavar="DIR",
        help=f"where ClickHouse keeps its data; default: {settings.data}",
    )
    options = parser.parse_args(list(arguments))
    check_listens(settings)
    for interface in options.interface:
        if not INTERFACE.match(interface):
            raise UsageError(f"--interface {interface}: write NAME, NAME=auto, NAME=xdp or NAME=tc")
    if options.kafka is not None:
        parse_address(options.kafka)
    if options.clickhouse is not None and not HTTP_URL.match(options.clickhouse):
        raise UsageError(f"--clickhouse {options.clickhouse}: write http://HOST:PORT")
    return replace(
        settings,
        data=options.data,
        kafka=options.kafka,
        clickhouse=options.clickhouse,
        interfaces=tuple(options.interface),
    )


def check_listens(settings: Settings) -> None:
    """Raises: UsageError for an address to listen on that is none."""
    for variable, listen in (
        ("KNI_KAFKA_LISTEN", settings.kafka_listen),
        ("KNI_CLICKHOUSE_LISTEN", settings.clickhouse_listen),
        ("KNI_COLLECTOR_LISTEN", settings.collector_listen),
        ("KNI_AGGREGATOR_LISTEN", settings.aggregator_listen),
    ):
        try:
            parse_address(listen)
        except UsageError as error:
            raise UsageError(f"{variable}: {error}") from error


def wanted(settings: Settings) -> Wanted:
    """One collector for this machine."""
    uplinks = {"KNI_UPLINKS": ",".join(settings.interfaces)} if settings.interfaces else {}
    return Wanted(settings, (Collector("collector", settings.collector_listen, uplinks),))


def greeting(settings: Settings, system: System) -> str:
    """Where everything listens, and what to type next."""
    kafka = "given" if settings.kafka else "embedded, in memory"
    clickhouse = "given" if settings.clickhouse else f"embedded, data in {settings.data / 'clickhouse'}"
    reach = "".join(f"{name}={value} " for name, value in system.environment.items())
    return f"""
Kafka       {system.kafka}  ({kafka})
ClickHouse  {system.clickhouse}  ({clickhouse})
metrics     http://{settings.collector_listen}/metrics  (collector)
            http://{settings.aggregator_listen}/metrics  (aggregator)

next, in another terminal:
  {reach}kubenetinsight summary
  {reach}kubenetinsight status
  curl '{system.clickhouse.rstrip("/")}/?database=kubenetinsight' -d '{EXAMPLE}'

Ctrl-C stops everything: the last records are exported and stored first."""


def run(settings: Settings) -> int:
    """Run the system until a signal, or until one of its programs ends; the exit status."""
    display = Display()
    with closing(display), interrupted_by_signals():
        try:
            with running_system(wanted(settings), tell=display.step) as system:
                display.say(greeting(settings, system))
                ended = wait_for_end(system.children)
                name = ended.program.name if ended else "a program"
                said = ended.last_words() if ended else ""
                raise ChildError(f"{name} ended by itself{said}; everything else is stopped")
        except KeyboardInterrupt:
            return 0


def main(arguments: Sequence[str]) -> int:
    """`kubenetinsight up`; the exit status."""
    try:
        return run(parse(arguments, from_environment()))
    except (UsageError, ChildError) as error:
        sys.stderr.write(f"kubenetinsight up: {error}\n")
        return 1
