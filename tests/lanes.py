"""Test files to lanes: which of them run one after another, which first, and how lanes end at Ctrl-C.

`make test` runs two lanes, each a pytest process of its own (pytest-xdist): most of the suite waits for real servers. A
lane takes the next unit when it has nearly done with its last: a test file, or all files that start a lab. What tests
make on this machine carries a name of their own (process id, free ports), so that units do not meet.
"""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Final, NoReturn

from execnet.gateway_base import TimeoutError as StillOpenError
from xdist.scheduler import LoadScopeScheduling

if TYPE_CHECKING:
    from types import FrameType

    import pytest
    from xdist.remote import Producer
    from xdist.workermanage import WorkerController

LABS: Final = frozenset(
    {
        "tests/e2e/test_doors.py",
        "tests/e2e/test_from_packet_to_row.py",
        "tests/e2e/test_on_the_wire.py",
        "tests/integration/test_embedded_demo.py",
        "tests/integration/test_faults_stops.py",
        "tests/integration/test_lab_api.py",
        "tests/integration/test_lab_capture.py",
        "tests/integration/test_lab_identities.py",
        "tests/integration/test_lab_life.py",
        "tests/integration/test_lab_traffic.py",
    }
)
"""One unit: a lab removes what a killed one left, the demo has ports and names of its own, three share one scenario."""

LONGEST_FIRST: Final = (
    "labs",
    "tests/integration/test_exactly_once.py",
    "tests/integration/test_aggregator_outages.py",
    "tests/integration/test_collector_killed.py",
    "tests/e2e/test_conservation_kills.py",
)
"""Units that take a minute and more: a lane that began with one at the end would work on alone."""

TIDY_SECONDS: Final = 60.0
"""A lane removes within this time what its test has made."""


def unit_of(nodeid: str) -> str:
    """What a test shares a lane with."""
    file = nodeid.partition("::")[0]
    return "labs" if file in LABS else file


def place_of(nodeid: str) -> int:
    """When a test's unit is taken."""
    unit = unit_of(nodeid)
    return LONGEST_FIRST.index(unit) if unit in LONGEST_FIRST else len(LONGEST_FIRST)


class Units(LoadScopeScheduling):  # type: ignore[misc]  # xdist ships no types
    """Hands out units in their order."""

    def __init__(self, config: pytest.Config, log: Producer) -> None:
        config.option.loadscopereorder = False
        super().__init__(config, log)

    def _split_scope(self, nodeid: str) -> str:
        return unit_of(nodeid)


class Lanes:
    """The plugin of the process that the lanes report to."""

    def __init__(self) -> None:
        self._nodes: list[WorkerController] = []

    def pytest_xdist_make_scheduler(self, config: pytest.Config, log: Producer) -> Units:
        return Units(config, log)

    def pytest_configure_node(self, node: WorkerController) -> None:
        self._nodes.append(node)

    def pytest_keyboard_interrupt(self) -> None:
        """Wait for the lanes to tidy up: xdist would kill them after ten seconds."""
        for node in self._nodes:
            os.kill(node.gateway._rinfo().pid, signal.SIGINT)  # noqa: SLF001  (execnet's only way to tell)
        for node in self._nodes:
            try:
                node.channel.waitclose(TIDY_SECONDS)
            except (StillOpenError, EOFError, node.channel.RemoteError):
                continue


class Lane:
    """The plugin of a lane."""

    def pytest_sessionstart(self) -> None:
        """The first Ctrl-C ends the test; the next ones, of whoever passes it on, do not disturb the tidying up."""
        signal.signal(signal.SIGINT, interrupt)


def interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    signal.signal(signal.SIGINT, lambda *_: None)
    raise KeyboardInterrupt
