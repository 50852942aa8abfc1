"""Datagrams on a node's cable to how many there were: so many, or for as long as a test has something to do."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tests.kernel.collector_veths import Veths
from tests.programs import ENDS_WITH_TEST

SENDER = """
import select, socket, sys, time
address, count, flows, rate = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
sockets = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(flows)]
begin, n = time.monotonic(), 0
while n < count or not count and not select.select([sys.stdin], [], [], 0)[0]:
    sockets[n % flows].sendto(b"x" * 100, (address, 9))
    n += 1
    ahead = n / rate - (time.monotonic() - begin) if rate else 0
    if ahead > 0.005:
        select.select([], [], [], ahead)
print(n)
"""


@dataclass
class Traffic:
    """What a sender sent."""

    sent: int = 0
    """Packets; known when it has ended."""


@contextmanager
def traffic(veths: Veths, address: str, *, flows: int, rate: float) -> Iterator[Traffic]:
    """UDP packets from the peer's namespace for as long as the block lasts."""
    said, command = Traffic(), sender(veths, address, count=0, flows=flows, rate=rate)
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield said
            said.sent = int(process.communicate("", timeout=60)[0])
        finally:
            process.kill()


@contextmanager
def sending(veths: Veths, address: str, *, count: int, flows: int, rate: float) -> Iterator[None]:
    """UDP packets from the peer's namespace in the background; all are sent when the block ends."""
    with subprocess.Popen(
        sender(veths, address, count=count, flows=flows, rate=rate), stdout=subprocess.DEVNULL
    ) as process:
        try:
            yield
            assert process.wait(timeout=120) == 0
        finally:
            process.kill()


def sender(veths: Veths, address: str, *, count: int, flows: int, rate: float) -> list[str]:
    """The command that sends so many packets; with no count, until its input ends; it ends with their number."""
    inside = ["ip", "netns", "exec", veths.peer, sys.executable, "-c", SENDER]
    return [*ENDS_WITH_TEST, *inside, address, str(count), str(flows), str(rate)]
