"""Command line to the command that answers it."""

import argparse
import importlib
import os
import re
import sys
import time
from collections.abc import Callable, Sequence

from cli.complaint import Complaint

_ANSWERS = {
    "summary": "totals, protocols, packet sizes, top edges, latency, drops and completeness",
    "connections": "conversations: ports, state, duration, both directions, RTT",
    "edges": "workload to workload: traffic, connections, latency",
    "flows": "flow records; --follow reads them from the topic as they come",
    "sql": "any query of your own",
    "status": "what is attached where, how far behind it is, what was lost",
}

_MOST_ROWS = 1_000_000

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
    options = _parser().parse_args(words)
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


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="kubenetinsight",
        description="Who talks to whom, how long it takes, what is dropped, and how complete that is.",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    for name, meaning in _ANSWERS.items():
        command = commands.add_parser(name, help=meaning, description=meaning)
        command.add_argument(
            "-o",
            "--output",
            choices=("table", "json", "csv"),
            default="table",
            help="table for people, json (an object a line) or csv for programs",
        )
        command.add_argument(
            "--since", type=_seconds, default=900, metavar="15m", help="how far back: 30s, 15m, 2h, 1d"
        )
        command.add_argument("--namespace", default="", help="only what begins or ends in this namespace")
        command.add_argument("--limit", type=_rows, default=20, help="rows at most")
        if name == "sql":
            command.add_argument("query", help="SQL; tables and views are described in docs/sql.md")
        if name == "flows":
            command.add_argument("--follow", action="store_true", help="read the topic from now on")
    for name, (_, meaning) in _PROGRAMS.items():
        commands.add_parser(name, help=meaning, add_help=False)
    return parser


def _seconds(text: str) -> int:
    match = re.fullmatch(r"(\d{1,6})([smhd])", text)
    if not match:
        raise argparse.ArgumentTypeError(f"{text!r} is no length of time: write 30s, 15m, 2h or 1d")
    return int(match[1]) * {"s": 1, "m": 60, "h": 3600, "d": 86400}[match[2]]


def _rows(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) <= _MOST_ROWS:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of rows: write one from 1 to {_MOST_ROWS}")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
