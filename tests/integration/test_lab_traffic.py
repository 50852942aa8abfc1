"""Programs to ledgers: everything that the lab promises to show happens, and both sides tell the same story."""

import re
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from lab.cluster import BLACK_HOLE_PORT, CLOSED_PORT, ECHO, FORBIDDEN, SINK, STORE
from lab.firewall import BLACK_HOLE
from lab.programs.ledger import Entry
from lab.world import World
from tests.deadline import eventually


class Run(NamedTuple):
    """A lab whose traffic has run and has ended."""

    world: World
    entries: list[Entry]
    captured: Path


def workload_of(name: str) -> str:
    """The workload behind a name in the ledger."""
    parts = name.split("/")
    found = re.match(r"(ticket|upload|web|api|loadgen|db|store|sink|dns|agent|scraper|prober)-", parts[-1])
    return f"{parts[0]}/{found[1]}" if found else name


def clients(entries: list[Entry], workload: str, *, protocol: str, port: int) -> Counter[str]:
    """What all clients of a workload counted that dialled a port, by family and count, and in all."""
    total: Counter[str] = Counter()
    for conversation, counts in entries:
        seen = (conversation.side, workload_of(conversation.me), conversation.protocol, conversation.port)
        if seen == ("client", workload, protocol, port):
            family = "v6" if ":" in conversation.address else "v4"
            total.update(counts)
            total.update({f"{family} {name}": count for name, count in counts.items()})
    return total


def has_all_happened(world: World) -> bool:
    entries = world.ledger()
    return (
        len(world.jobs.ended) >= 2
        and clients(entries, "batch/prober", protocol="tcp", port=BLACK_HOLE_PORT)["unanswered"] >= 2
        and clients(entries, "monitoring/scraper", protocol="tcp", port=9100)["exchanges"] >= 6
        and clients(entries, "shop/loadgen", protocol="udp", port=SINK.number)["datagrams_sent"] > 50
    )


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    file = tmp_path_factory.mktemp("capture") / "node-1.pcap"
    with World("traffic", time.time) as world:
        with world.capture("underlay", "node-1", file=file):
            world.start_traffic()
            eventually(lambda: has_all_happened(world), within_seconds=30)
            world.stop_traffic()
        yield Run(world, world.ledger(), file)


@pytest.mark.parametrize(
    ("workload", "protocol", "port", "count"),
    [
        pytest.param("shop/loadgen", "tcp", 80, "v4 exchanges", id="a pod calls a service"),
        pytest.param("shop/loadgen", "tcp", 80, "v6 exchanges", id="a pod calls a service over IPv6"),
        pytest.param("shop/web", "tcp", 80, "exchanges", id="web calls api"),
        pytest.param("shop/api", "tcp", 5432, "exchanges", id="api calls the database"),
        pytest.param("shop/loadgen", "udp", 53, "v4 exchanges", id="names over IPv4"),
        pytest.param("shop/loadgen", "udp", 53, "v6 exchanges", id="names over IPv6"),
        pytest.param("kube-system/agent", "udp", 53, "exchanges", id="a node asks for names"),
        pytest.param("kube-system/agent", "tcp", 9000, "exchanges", id="a hostNetwork pod calls a service"),
        pytest.param("monitoring/scraper", "tcp", 9100, "v4 exchanges", id="a hostNetwork pod is called"),
        pytest.param("monitoring/scraper", "tcp", 9100, "v6 exchanges", id="a hostNetwork pod is called over IPv6"),
        pytest.param("batch/upload", "tcp", 9000, "v4 exchanges", id="bulk upload over IPv4"),
        pytest.param("batch/upload", "tcp", 9000, "v6 exchanges", id="bulk upload over IPv6"),
        pytest.param("batch/ticket", "tcp", 80, "exchanges", id="a pod that lives two seconds calls a service"),
        pytest.param("batch/prober", "tcp", 443, "v4 exchanges", id="a pod calls the outside"),
        pytest.param("batch/prober", "tcp", 443, "v6 exchanges", id="a pod calls the outside over IPv6"),
        pytest.param("batch/prober", "udp", ECHO.number, "v4 datagrams_received", id="pod to pod over UDP"),
        pytest.param("batch/prober", "udp", ECHO.number, "v6 datagrams_received", id="pod to pod over UDP and IPv6"),
        pytest.param("batch/prober", "tcp", STORE.number, "v4 exchanges", id="pod to pod over TCP"),
        pytest.param("batch/prober", "tcp", STORE.number, "v6 exchanges", id="pod to pod over TCP and IPv6"),
        pytest.param("batch/prober", "icmp", 0, "v4 datagrams_received", id="ping"),
        pytest.param("batch/prober", "icmp", 0, "v6 datagrams_received", id="ping over IPv6"),
        pytest.param("batch/prober", "tcp", CLOSED_PORT, "v4 refused", id="a closed port"),
        pytest.param("batch/prober", "tcp", CLOSED_PORT, "v6 refused", id="a closed port over IPv6"),
        pytest.param("batch/prober", "tcp", BLACK_HOLE_PORT, "v4 unanswered", id="a black hole"),
        pytest.param("batch/prober", "tcp", BLACK_HOLE_PORT, "v6 unanswered", id="a black hole over IPv6"),
        pytest.param("batch/prober", "udp", FORBIDDEN.number, "datagrams_sent", id="what the firewall drops"),
        pytest.param("outside", "tcp", 30080, "v4 exchanges", id="the outside calls a node port"),
        pytest.param("outside", "tcp", 30080, "v6 exchanges", id="the outside calls a node port over IPv6"),
        pytest.param("outside", "tcp", 30081, "v4 exchanges", id="the outside calls a masquerading node port"),
        pytest.param("outside", "tcp", 30081, "v6 exchanges", id="a masquerading node port over IPv6"),
        pytest.param("node/node-1", "tcp", 8080, "exchanges", id="a node probes its pods"),
    ],
)
def test_it_happens(run: Run, workload: str, protocol: str, port: int, count: str) -> None:
    assert clients(run.entries, workload, protocol=protocol, port=port)[count] > 0


def test_nothing_goes_wrong_that_is_not_meant_to(run: Run) -> None:
    assert [entry for entry in run.entries if entry.counts["failed"]] == []
    assert {entry.conversation.port for entry in run.entries if entry.counts["refused"]} == {CLOSED_PORT}
    assert {entry.conversation.port for entry in run.entries if entry.counts["unanswered"]} == {BLACK_HOLE_PORT}


def test_client_and_server_tell_the_same_of_every_pair_that_talked_over_tcp(run: Run) -> None:
    told: dict[str, dict[tuple[str, str], Counter[str]]] = {"client": {}, "server": {}}
    for conversation, counts in run.entries:
        if conversation.protocol == "tcp" and counts["exchanges"]:
            pair = (conversation.me, conversation.peer)
            here = told[conversation.side].setdefault(pair if conversation.side == "client" else pair[::-1], Counter())
            here.update(counts)
    mirrored = {
        pair: Counter(counts) | {"bytes_sent": counts["bytes_received"], "bytes_received": counts["bytes_sent"]}
        for pair, counts in told["server"].items()
    }

    assert len(told["client"]) > 20
    assert told["client"] == {pair: dict(counts) for pair, counts in mirrored.items()}


def test_each_refusal_is_one_reset_from_the_pod_with_the_closed_port(run: Run) -> None:
    store = run.world.pods_of("data/store")[0].full_name
    counters = statistics(run.world.run(store, "cat", "/proc/net/snmp").stdout)

    assert counters["Tcp OutRsts"] == clients(run.entries, "batch/prober", protocol="tcp", port=CLOSED_PORT)["refused"]


def test_the_full_buffer_drops_what_was_sent_and_not_received(run: Run) -> None:
    sink = run.world.pods_of("data/sink")[0].full_name
    counters = statistics(run.world.run(sink, "cat", "/proc/net/snmp").stdout)
    sent = clients(run.entries, "shop/loadgen", protocol="udp", port=SINK.number)["datagrams_sent"]
    (received,) = [entry.counts["datagrams_received"] for entry in run.entries if entry.conversation.me == sink]

    assert received > 0
    assert counters["Udp RcvbufErrors"] == sent - received > 0


def test_the_firewall_drops_exactly_what_was_sent_against_the_policy(run: Run) -> None:
    sent = clients(run.entries, "batch/prober", protocol="udp", port=FORBIDDEN.number)["datagrams_sent"]
    drops = run.world.policy_drops()

    assert {place: count for place, count in drops.items() if place[1] == FORBIDDEN.name and count} == {
        ("node-2", FORBIDDEN.name): sent
    }


def test_the_black_hole_is_on_the_far_node(run: Run) -> None:
    unanswered = clients(run.entries, "batch/prober", protocol="tcp", port=BLACK_HOLE_PORT)["unanswered"]
    drops = {place[0]: count for place, count in run.world.policy_drops().items() if place[1] == BLACK_HOLE and count}

    assert list(drops) == ["node-3"]
    assert drops["node-3"] >= unanswered


def test_a_short_lived_pod_leaves_its_address_to_the_next(run: Run) -> None:
    first, second, *_ = [pod for pod in run.world.jobs.ended if pod.workload.name.startswith("ticket")]

    assert first.addresses == second.addresses
    assert first.full_name != second.full_name
    assert run.world.jobs.pods == ()
    assert not second.netns_path.exists()


def servers(entries: list[Entry], workload: str, *, of: str) -> set[str]:
    """Addresses that a workload's pods saw clients come from."""
    return {
        conversation.address
        for conversation, _ in entries
        if conversation.side == "server" and workload_of(conversation.me) == workload
        if workload_of(conversation.peer) == of
    }


def test_a_pod_is_masqueraded_to_the_outside_as_its_node(run: Run) -> None:
    assert servers(run.entries, "outside", of="batch/prober") == set(run.world.node("node-2").addresses)


def test_a_local_node_port_keeps_the_clients_address_and_the_other_kind_hides_it(run: Run) -> None:
    third = run.world.node("node-3")

    assert servers(run.entries, "shop/web", of="outside") == {"198.51.100.10", "2001:db8:100::10"}
    assert servers(run.entries, "shop/api", of="outside") <= {*third.gateways, *third.tunnels}


def test_probes_come_from_the_gateway_address_of_the_pods_node(run: Run) -> None:
    assert servers(run.entries, "shop/web", of="node/node-1") == {run.world.node("node-1").gateways[0]}


def test_pods_talk_across_nodes_inside_vxlan_over_both_families(run: Run) -> None:
    def frames(expression: str) -> list[str]:
        command = ["tcpdump", "-n", "-r", str(run.captured), expression]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()

    assert any("VXLAN, flags [I] (0x08), vni 1" in line for line in frames("ip and udp port 4789"))
    assert any("VXLAN, flags [I] (0x08), vni 1" in line for line in frames("ip6 and udp port 4789"))
    assert frames("net 10.244.0.0/16 or net fd00:10:244::/48") == []


def test_traffic_can_start_again_and_its_ledgers_go_on(run: Run) -> None:
    def exchanges() -> int:
        return clients(run.world.ledger(), "shop/loadgen", protocol="tcp", port=80)["exchanges"]

    before = exchanges()
    run.world.start_traffic()
    eventually(lambda: exchanges() > before, within_seconds=10)
    run.world.stop_traffic()

    assert before == clients(run.entries, "shop/loadgen", protocol="tcp", port=80)["exchanges"]
    assert exchanges() > before


def statistics(text: str) -> Counter[str]:
    """Counters of /proc/net/snmp as "Protocol Name" to value."""
    lines = [line.split() for line in text.splitlines()]
    return Counter(
        {
            f"{names[0][:-1]} {name}": int(value)
            for names, values in zip(lines[::2], lines[1::2], strict=True)
            for name, value in zip(names[1:], values[1:], strict=True)
        }
    )
