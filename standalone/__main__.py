"""Command line to one embedded server: `python -m standalone kafka` and `python -m standalone clickhouse`."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
import time
from pathlib import Path

from standalone import landlock
from standalone.address import Address, UsageError, address_of, bound_socket, parse_address
from standalone.data_directory import emptied, owned
from standalone.settings import needed_environment, use_for_temporary_files

INTERRUPTED = 130
UNCONFINED = (
    "clickhouse: this kernel has no Landlock (5.19 and newer have): whoever reaches the port can read with SQL what "
    "this user can read"
)


def ready(what: str, where: Address) -> None:
    """Tell whoever started this program that it serves, and where: one line, the only one on standard output."""
    print(f"ready {what} {where}", flush=True)


def stop_on_signals() -> asyncio.Event:
    """An event that SIGTERM and SIGINT set."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop


async def serve_kafka(listen: Address) -> None:
    """Embedded Kafka until a signal."""
    from standalone import kafka  # noqa: PLC0415 - the other server does not need it

    listener = bound_socket(listen, "--listen (KNI_KAFKA_LISTEN for `up` and `demo`)")
    stop = stop_on_signals()
    cluster = kafka.MockCluster()
    ready("kafka", address_of(listener))
    await kafka.forward(listener, cluster.address, stop=stop)


async def serve_clickhouse(listen: Address, directory: Path) -> None:
    """Embedded ClickHouse until a signal; what was acknowledged is on disk then."""
    from standalone.clickhouse_server import serve  # noqa: PLC0415 - the other server does not need it

    listener = bound_socket(listen, "--listen (KNI_CLICKHOUSE_LISTEN for `up` and `demo`)")
    stop = stop_on_signals()
    with owned(directory) as data:
        use_for_temporary_files(emptied(data / "scratch"))
        if not landlock.confine(data):
            print(UNCONFINED, file=sys.stderr)
        # Only now: the engine's library starts threads when it is loaded, and they would stay outside the fence.
        from standalone.clickhouse_engine import Engine  # noqa: PLC0415

        with Engine(data, clock=time.monotonic) as engine:
            await serve(listener, engine, stop=stop, on_ready=lambda: ready("clickhouse", address_of(listener)))


def parse(arguments: list[str]) -> argparse.Namespace:
    """The command line, or exit status 2."""
    parser = argparse.ArgumentParser(prog="python -m standalone", description="the servers that one machine embeds")
    commands = parser.add_subparsers(dest="command", required=True)
    kafka = commands.add_parser("kafka", help="Kafka in memory: 4 partitions a topic, about 5 MB each")
    kafka.add_argument("--listen", default="127.0.0.1:9092", metavar="HOST:PORT")
    clickhouse = commands.add_parser("clickhouse", help="ClickHouse's engine behind its HTTP interface")
    clickhouse.add_argument("--listen", default="127.0.0.1:8123", metavar="HOST:PORT")
    clickhouse.add_argument("--data", default="data", metavar="DIR", type=Path)
    return parser.parse_args(arguments)


def without_others_secrets() -> None:
    """Begin this program again with only what it needs in its environment: SQL can read that in /proc."""
    needed, has_more = needed_environment()
    if has_more:
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], needed)  # noqa: S606 - this very program


def main(arguments: list[str] | None = None) -> int:
    """Serve until a signal; the exit status."""
    options = parse(sys.argv[1:] if arguments is None else arguments)
    try:
        listen = parse_address(options.listen)
        if options.command == "kafka":
            asyncio.run(serve_kafka(listen))
        else:
            asyncio.run(serve_clickhouse(listen, options.data))
    except UsageError as error:
        print(f"{options.command}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:  # before it listened to signals
        return INTERRUPTED
    return 0


if __name__ == "__main__":
    without_others_secrets()
    sys.exit(main())
