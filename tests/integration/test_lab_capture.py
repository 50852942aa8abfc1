"""Interfaces to captures: what the lab writes down is everything, and without offloads it is what was on the wire."""

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.errors import LabError
from lab.world import World
from tests.deadline import eventually


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with World("capture", time.time) as found:
        yield found


def frames(file: Path, expression: str) -> list[int]:
    """Lengths on the wire of the captured frames that match."""
    command = ["tshark", "-r", str(file), "-Y", expression, "-T", "fields", "-e", "frame.len"]
    return [int(line) for line in subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()]


def test_a_capture_holds_each_datagram_that_was_sent(world: World, tmp_path: Path) -> None:
    sender, receiver = world.pods_of("batch/prober")[0], world.pods_of("data/store")[0]
    count = 2000
    program = (
        "import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
        f"for i in range({count}): s.sendto(bytes(100), ('{receiver.addresses[0]}', 4242))"
    )
    with world.capture(sender.node.name, sender.interface, file=tmp_path / "pod.pcap", snap_length=60):
        assert world.run(sender.full_name, "python3", "-c", program).returncode == 0

    assert frames(tmp_path / "pod.pcap", "udp.dstport == 4242 && !icmp") == [142] * count


def test_an_interface_that_is_not_there_is_told(world: World, tmp_path: Path) -> None:
    with (
        pytest.raises(LabError, match="tcpdump cannot capture on eth9"),
        world.capture("node-1", "eth9", file=tmp_path / "none.pcap"),
    ):
        pass


def test_without_offloads_no_frame_is_larger_than_the_pods_mtu(world: World, tmp_path: Path) -> None:
    def largest(*, on: bool) -> int:
        world.offloads(on=on)
        store = world.pods_of("data/store")[0]
        file = tmp_path / f"offloads-{on}.pcap"
        with world.capture("node-1", store.interface, file=file):
            world.start_traffic()
            eventually(lambda: uploaded(world) > 4 << 20, within_seconds=20)
            world.stop_traffic()
        return max(frames(file, "tcp.port == 9000"))

    before = largest(on=False)
    assert before == 1430 + 14
    assert largest(on=True) > before


def uploaded(world: World) -> int:
    uploads = [pod.full_name for pod in world.jobs.pods if pod.workload.name.startswith("upload")]
    return sum(entry.counts["bytes_sent"] for entry in world.ledger() if entry.conversation.me in uploads)
