"""Command line to the command that answers it."""

import argparse
import importlib
import os
import re
import sys
import time
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version

from cli.complaint import Complaint

_ANSWERS = {
    "summary": "totals, protocols, packet sizes, top edges, latency, drops and completeness",
    "connections": "conversations: ports, state, duration, both directions, RTT",
    "edges": "workload to workload: traffic, connections, latency",
    "flows": "flow records; --follow reads them from the topic as they come",
    "sql": "any query of your own",
    "status": "what is attached where, how far behind it is, what was lost",
}

_SINCE = ("summary", "connections", "edges", "flows")
_NAMESPACE = ("connections", "edges", "flows")
_LIMIT = ("summary", "connections", "edges", "flows")
_MOST_ROWS = 1_000_000
_DEFAULT_ROWS = 20
_DEFAULT_SECONDS = 900
_DAY = 86400
_MOST_SECONDS = 366 * _DAY
_EPILOG = """KNI_CLICKHOUSE and KNI_KAFKA say where to ask; the default is this machine.
first steps:  kubenetinsight demo --keep   and, in another terminal,   kubenetinsight summary"""

_PROGRAMS = {
    "up": ("standalone.up", "the whole system on this machine's interfaces"),
    "demo": ("standalone.demo", "the whole system on a small cluster in network namespaces"),
    "lab": ("lab.__main__", "the small cluster alone"),
    "collector": ("collector.__main__", "one node's collector"),
    "aggregator": ("aggregator.__main__", "one aggregator worker"),
    "detach": ("collector.detach", "list and remove what this node's collector attached"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; its exit status."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words and words[0] in _PROGRAMS:
        program: Callable[[Sequence[str]], int] = importlib.import_module(_PROGRAMS[words[0]][0]).main
        return program(words[1:])
    options = _parse(words)
    from cli import answers
    from cli.settings import read_settings

    try:
        return int(getattr(answers, options.command)(options, read_settings(time.time_ns)))
    except Complaint as complaint:
        sys.stderr.write(f"kubenetinsight: {complaint}\n")
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141


def _parse(words: list[str]) -> argparse.Namespace:
    """What is asked for; ends the process where that can't be understood, or where help is."""
    parser = _parser()
    if not words or words == ["help"]:
        parser.print_help()
        sys.exit(0 if words else 2)
    options, others = parser.parse_known_args(words)
    if others:
        options.parser.error(f"unrecognized arguments: {' '.join(others)}")
    given = [f"--{name}" for name in ("since", "namespace", "limit") if getattr(options, name, None) is not None]
    if options.command == "flows" and options.follow and given:
        options.parser.error(f"--follow shows records as they come, all and without names: leave {given[0]} out")
    options.since = _DEFAULT_SECONDS if getattr(options, "since", None) is None else options.since
    options.limit = _DEFAULT_ROWS if getattr(options, "limit", None) is None else options.limit
    options.namespace = getattr(options, "namespace", None) or ""
    return options


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="kubenetinsight",
        description="Who talks to whom, how long it takes, what is dropped, and how complete that is.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"kubenetinsight {_version()}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    for name, meaning in _ANSWERS.items():
        _describe(commands.add_parser(name, help=meaning, description=meaning), name)
    for name, (_, meaning) in _PROGRAMS.items():
        commands.add_parser(name, help=meaning, add_help=False)
    return parser


def _describe(command: argparse.ArgumentParser, name: str) -> None:
    """The options that a command heeds, and no others."""
    command.set_defaults(parser=command)
    command.add_argument(
        "-o",
        "--output",
        choices=("table", "json", "csv"),
        default="table",
        help="table for people, json (an object a line) or csv for programs",
    )
    if name in _SINCE:
        command.add_argument("--since", type=_seconds, metavar="15m", help="how far back: 30s, 15m (default), 2h, 1d")
    if name in _NAMESPACE:
        command.add_argument("--namespace", metavar="NAME", help="only what begins or ends in this namespace")
    if name in _LIMIT:
        command.add_argument("--limit", type=_rows, metavar="ROWS", help=f"rows at most; default: {_DEFAULT_ROWS}")
    if name == "sql":
        command.add_argument("query", nargs="+", help="SQL; tables and views are described in docs/sql.md")
    if name == "flows":
        command.add_argument("--follow", action="store_true", help="read the topic from now on")


def _version() -> str:
    try:
        return version("kubenetinsight")
    except PackageNotFoundError:  # run from its sources
        return "0"


def _seconds(text: str) -> int:
    match = re.fullmatch(r"(\d{1,9})([smhd])", text)
    seconds = int(match[1]) * {"s": 1, "m": 60, "h": 3600, "d": _DAY}[match[2]] if match else 0
    if not 0 < seconds <= _MOST_SECONDS:
        raise argparse.ArgumentTypeError(f"{text!r} is no length of time: write 30s, 15m, 2h or 1d, at most 366d")
    return seconds


def _rows(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) <= _MOST_ROWS:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of rows: write one from 1 to {_MOST_ROWS}")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
