"""`kubenetinsight up` to rows that stay: one command, real packets, Ctrl-C, and the same data the next time."""

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from standalone.address import Address, address_of, bound_socket, parse_address
from standalone.lab_system import remove_pins
from standalone.processes import python_module
from standalone.servers import embedded_clickhouse
from standalone.settings import child_environment
from tests.deadline import Eventually
from tests.programs import ENDS_WITH_TEST

NEAR, FAR, NAMESPACE = (f"{name}{os.getpid()}" for name in ("kniup", "kniua", "kni-up-"))
NEAR_ADDRESS, FAR_ADDRESS = "10.222.77.1", "10.222.77.2"
STOP_SECONDS = 60
PORT = 7777
PAYLOAD, FRAME = 100, 100 + 8 + 20 + 14  # UDP, IPv4, Ethernet
SENT = "SELECT sum(packets), sum(bytes) FROM kubenetinsight.flows WHERE dst_port = 7777 AND protocol = 17"
SEND = """
import socket, sys
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
    sender.bind(("", 40000))
    for _ in range(int(sys.argv[3])):
        sender.sendto(bytes(int(sys.argv[4])), (sys.argv[1], int(sys.argv[2])))
"""


class Place(NamedTuple):
    """Where one `up` runs: free addresses, its pins, its data, its output."""

    environment: dict[str, str]
    data: Path
    pins: Path
    log: Path


def run(*command: str, is_checked: bool = True) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=is_checked).stdout


def free_addresses(count: int) -> list[str]:
    listeners = [bound_socket(Address("127.0.0.1", 0), "") for _ in range(count)]
    addresses = [str(address_of(listener)) for listener in listeners]
    for listener in listeners:
        listener.close()
    return addresses


@pytest.fixture
def wire() -> Iterator[None]:
    """A veth pair that ends in a namespace of its own; its near end is what `up` watches."""
    run("ip", "netns", "add", NAMESPACE)
    try:
        run("ip", "link", "add", NEAR, "type", "veth", "peer", "name", FAR, "netns", NAMESPACE)
        run("ip", "address", "add", f"{NEAR_ADDRESS}/30", "dev", NEAR)
        run("ip", "link", "set", NEAR, "up")
        run("ip", "-netns", NAMESPACE, "address", "add", f"{FAR_ADDRESS}/30", "dev", FAR)
        run("ip", "-netns", NAMESPACE, "link", "set", FAR, "up")
        yield
    finally:
        # At once: what lies in a namespace goes only some time after its name.
        run("ip", "link", "delete", NEAR, is_checked=False)
        run("ip", "netns", "delete", NAMESPACE)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """Free addresses, a data directory and pins of its own; pins that a killed collector left are removed."""
    kafka, clickhouse, collector, aggregator = free_addresses(4)
    pins = Path(f"/run/kubenetinsight/bpf-up-test-{os.getpid()}")
    environment = {
        "KNI_NODE": "up-test",
        "KNI_KAFKA_LISTEN": kafka,
        "KNI_CLICKHOUSE_LISTEN": clickhouse,
        "KNI_COLLECTOR_LISTEN": collector,
        "KNI_AGGREGATOR_LISTEN": aggregator,
        "KNI_KUBERNETES": "none",
        "KNI_DRAIN_SECONDS": "5",
        "KNI_PODS": "",
        "KNI_BPFFS": str(pins),
    }
    yield Place(environment, tmp_path / "data", pins, tmp_path / "up.log")
    remove_pins(pins)


def start_up(place: Place, *arguments: str) -> subprocess.Popen[bytes]:
    command = (*ENDS_WITH_TEST, *python_module("cli", "up", "--data", str(place.data), *arguments))
    with place.log.open("wb") as log:
        return subprocess.Popen(command, env=child_environment(place.environment), stdout=log, stderr=log)


def wait_until_up(place: Place, process: subprocess.Popen[bytes], *, eventually: Eventually) -> None:
    def is_up_or_over() -> bool:
        return "Ctrl-C stops everything" in place.log.read_text() or process.poll() is not None

    eventually(is_up_or_over, within_seconds=120)
    assert process.poll() is None, place.log.read_text()


def send(count: int) -> None:
    """Datagrams from the far end, all of one conversation, to a socket that takes them."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind((NEAR_ADDRESS, PORT))
        code = (sys.executable, "-c", SEND, NEAR_ADDRESS, str(PORT), str(count), str(PAYLOAD))
        run("ip", "netns", "exec", NAMESPACE, *code)


def ask(url: str, sql: str) -> str:
    with urllib.request.urlopen(url, data=sql.encode(), timeout=30) as answer:  # noqa: S310 - an address of ours
        return str(answer.read().decode()).strip()


def children_of(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def is_anything_attached() -> bool:
    filters = run("tc", "filter", "show", "dev", NEAR, "ingress") + run("tc", "filter", "show", "dev", NEAR, "egress")
    link = json.loads(run("ip", "-json", "-details", "link", "show", "dev", NEAR))[0]
    return bool(filters.strip()) or "xdp" in link


@pytest.mark.usefixtures("wire")
def test_packets_become_rows_that_outlive_ctrl_c_and_nothing_stays_attached(
    place: Place, eventually: Eventually
) -> None:
    process = start_up(place, "--interface", f"{NEAR}=tc")
    try:
        wait_until_up(place, process, eventually=eventually)
        assert is_anything_attached()
        send(50)
        url = f"http://{place.environment['KNI_CLICKHOUSE_LISTEN']}"
        eventually(lambda: ask(url, SENT) != "0\t0", within_seconds=30)
        send(50)
    finally:
        process.send_signal(signal.SIGINT)
        status = process.wait(STOP_SECONDS)
    assert (status, is_anything_attached(), place.pins.is_mount()) == (0, False, False), place.log.read_text()
    with embedded_clickhouse(place.data / "clickhouse") as url:
        assert ask(url, SENT) == f"100\t{100 * FRAME}"


@pytest.mark.usefixtures("wire")
def test_data_is_there_the_next_time_and_the_whole_tree_ends_with_its_parent(
    place: Place, eventually: Eventually
) -> None:
    with embedded_clickhouse(place.data / "clickhouse") as url:
        ask(url, "CREATE TABLE kept (a Int8) ENGINE = MergeTree ORDER BY a")
        ask(url, "INSERT INTO kept VALUES (7)")
    process = start_up(place, "--interface", f"{NEAR}=tc")
    try:
        wait_until_up(place, process, eventually=eventually)
        children = children_of(process.pid)
        assert len(children) == 4
        assert ask(f"http://{place.environment['KNI_CLICKHOUSE_LISTEN']}", "SELECT a FROM kept") == "7"
    finally:
        process.kill()
        process.wait()
    eventually(lambda: not any(Path(f"/proc/{child}").exists() for child in children), within_seconds=STOP_SECONDS)
    assert not is_anything_attached()


@pytest.mark.usefixtures("wire")
def test_a_program_that_ends_by_itself_ends_everything_with_one_message(place: Place, eventually: Eventually) -> None:
    process = start_up(place, "--interface", f"{NEAR}=tc")
    try:
        wait_until_up(place, process, eventually=eventually)
        aggregator = next(
            child for child in children_of(process.pid) if b"aggregator" in Path(f"/proc/{child}/cmdline").read_bytes()
        )
        os.kill(aggregator, signal.SIGKILL)
        assert process.wait(STOP_SECONDS) == 1
    finally:
        process.kill()
    assert "kubenetinsight up: aggregator ended by itself" in place.log.read_text()
    assert not is_anything_attached()


def test_a_taken_port_ends_in_a_message_that_names_the_setting(place: Place) -> None:
    taken = place.environment["KNI_KAFKA_LISTEN"]
    with bound_socket(parse_address(taken), ""):
        assert start_up(place, "--interface", "lo=tc").wait(STOP_SECONDS) == 1
    said = place.log.read_text()
    assert f"kafka: cannot listen on {taken}: Address already in use" in said
    assert "KNI_KAFKA_LISTEN" in said
