"""The environment to a running collector: settings, clocks, signals, and the messages at the end."""

import argparse
import os
import signal
import sys
import time
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import FrameType

from collector.allocation import give_back
from collector.attach import AttachError
from collector.bpffs import BpffsError
from collector.clock import Clock
from collector.health import PortTakenError
from collector.loader import LoaderError
from collector.logs import configure_logs, log
from collector.netns_directory import NotANamespaceError
from collector.pins import LockedError, PinsError
from collector.preflight import PreflightError, check_this_process
from collector.report import Identity
from collector.service import Service
from collector.settings import Settings, SettingsError, settings_of_process

REFUSALS = (
    AttachError,
    BpffsError,
    LoaderError,
    LockedError,
    NotANamespaceError,
    PinsError,
    PortTakenError,
    PreflightError,
    SettingsError,
)


class Signals:
    """SIGTERM and SIGINT: the first asks to stop, the second not to wait for Kafka."""

    def __init__(self) -> None:
        self.count = 0
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._take)

    def _take(self, _number: int, _frame: FrameType | None) -> None:
        self.count += 1


def main(arguments: Sequence[str] | None = None) -> int:
    """Run until SIGTERM or SIGINT. Status 1, and one message, when it can't begin."""
    argparse.ArgumentParser(
        prog="kubenetinsight collector", description="Count this node's packets, as the KNI_ variables say."
    ).parse_args(arguments)
    configure_logs()
    signals = Signals()
    try:
        settings = settings_of_process()
        check_this_process(enters_namespace=settings.netns is not None)
        service = Service(
            settings,
            _identity(settings),
            clock=Clock(time.monotonic_ns, time.time_ns),
            is_stopping=lambda: signals.count > 0,
        )
    except (*REFUSALS, OSError) as refusal:
        sys.stderr.write(f"kubenetinsight collector: {refusal}\n")
        return 0 if signals.count else 1
    give_back()
    host, port = service.address
    print(f"ready collector {settings.node} {host}:{port}", flush=True)
    while not signals.count:
        service.turn()
    log.info("stopping")
    left = service.stop(lambda: signals.count > 1)
    if left:
        sys.stderr.write(f"kubenetinsight collector: {left}\n")
    log.info("stopped")
    return 0


def _identity(settings: Settings) -> Identity:
    try:
        own_version = version("kubenetinsight")
    except PackageNotFoundError:  # run from its sources
        own_version = "0"
    return Identity(
        node=settings.node,
        boot_id=Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip(),
        version=own_version,
        kernel=os.uname().release,
        started_ns=time.time_ns(),
    )


if __name__ == "__main__":
    sys.exit(main())
