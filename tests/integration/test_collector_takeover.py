"""What a collector finds at its start, of an earlier process: adopted, closed, or removed."""

import time
from collections.abc import Callable

import pytest

from tests.deadline import Eventually
from tests.integration.collector_ledger import packets_by_hook, totals_by_hook, udp_packets
from tests.integration.collector_world import Collector, Reader, attached, detach
from tests.integration.datagrams import sending, traffic
from tests.kernel.collector_veths import Veths, run

NewCollector = Callable[..., Collector]
NewReader = Callable[[Collector], Reader]


@pytest.mark.parametrize("hook", ["xdp", "tc"])
def test_with_other_sizes_the_old_ring_is_closed_and_no_packet_is_missed(
    node: Veths, new_collector: NewCollector, new_reader: NewReader, *, embedded: str, hook: str
) -> None:
    before = new_collector(embedded, KNI_UPLINKS=f"v0={hook}")
    before.start()
    after = new_collector(embedded, KNI_UPLINKS=f"v0={hook}", KNI_CONVERSATIONS="8192")
    with traffic(node, "10.9.0.1", flows=100, rate=4_000) as seen:
        before.kill()
        after.start()
    after.stop()
    rings = list(new_reader(after).read().flows.values())
    assert len(rings) == 2
    assert all(batches[-1].header.closed for batches in rings)
    assert sum(udp_packets(batches) for batches in rings) == seen.sent > 0
    for batches in rings:
        assert packets_by_hook(batches) == totals_by_hook(batches)


def test_an_interface_that_is_watched_no_more_is_left_alone_and_a_new_one_counts(
    node: Veths, new_collector: NewCollector, *, embedded: str
) -> None:
    node.add("v1")
    first = new_collector(embedded, KNI_UPLINKS="v0=xdp", KNI_PODS="")
    first.start()
    first.kill()
    second = new_collector(embedded, KNI_UPLINKS="v1=xdp", KNI_PODS="")
    second.start()
    assert attached(node, "v0") == ""
    assert {row["name"] for row in second.status()["interfaces"]} == {"v1"}
    second.stop()
    assert attached(node, "v1") == ""


def test_restarted_with_a_new_interface_it_says_that_counting_began_anew(
    node: Veths, new_collector: NewCollector, *, embedded: str
) -> None:
    collector = new_collector(embedded, KNI_UPLINKS="v0=xdp", KNI_PODS="v*")
    collector.start()
    since_ns = collector.status()["counting_since_ns"]
    collector.kill()
    collector.start()
    again_ns = collector.status()["counting_since_ns"]
    assert abs(again_ns - since_ns) < 1_000_000, "nothing was missed in between: only the clocks' offset may differ"
    collector.kill()
    added_ns = time.time_ns()
    node.add("v9")
    collector.start()
    assert collector.status()["counting_since_ns"] > added_ns


def test_detach_lists_and_removes_what_a_killed_collector_left_and_nothing_else(
    node: Veths, new_collector: NewCollector, *, embedded: str
) -> None:
    collector = new_collector(embedded, KNI_UPLINKS="v0=xdp")
    collector.start()
    refused = detach(collector)
    assert refused.returncode == 1
    assert "another collector of node" in refused.stderr
    collector.kill()
    pin = next(collector.bpffs.glob("*/v*/tc_egress"))
    node.inside("tc", "filter", "add", "dev", "v0", "egress", "prio", "7", "bpf", "da", "object-pinned", str(pin))
    listed = detach(collector, "--list")
    assert listed.returncode == 0
    assert f"TC filter kubenetinsight:{collector.node} on v0" in listed.stdout
    assert "link-xdp-" in listed.stdout
    assert pin.exists()
    removed = detach(collector)
    assert removed.returncode == 0, removed.stderr
    assert "removed TC filter" in removed.stdout
    left = attached(node, "v0")
    assert "kubenetinsight" not in left
    assert "pref 7" in left
    assert not collector.bpffs.is_mount()
    assert "nothing of node" in detach(collector).stdout


def test_interfaces_that_come_are_counted_from_their_first_packet_and_those_that_go_are_forgotten(
    node: Veths, new_collector: NewCollector, new_reader: NewReader, *, embedded: str, eventually: Eventually
) -> None:
    collector = new_collector(embedded, KNI_PODS="v*")
    collector.start()
    node.add("v5")
    eventually(lambda: "v5" in {row["name"] for row in collector.status()["interfaces"]}, within_seconds=5)
    run("ip", "-n", node.node, "address", "add", "10.95.0.1/24", "dev", "v5")
    run("ip", "-n", node.peer, "address", "add", "10.95.0.2/24", "dev", "v5p")
    with sending(node, "10.95.0.1", count=200, flows=2, rate=0):
        pass
    run("ip", "-n", node.node, "link", "set", "v5", "name", "v6")
    eventually(lambda: "v6" in {row["name"] for row in collector.status()["interfaces"]}, within_seconds=5)
    run("ip", "-n", node.node, "link", "set", "v6", "netns", node.peer)
    eventually(lambda: {row["name"] for row in collector.status()["interfaces"]} == {"v0"}, within_seconds=5)
    assert "bpf" not in run("ip", "netns", "exec", node.peer, "tc", "filter", "show", "dev", "v6", "ingress")
    collector.stop()
    (batches,) = new_reader(collector).read().flows.values()
    assert udp_packets(batches) == 200
    assert packets_by_hook(batches).keys() <= {("v5", 0), ("v5", 1), ("v6", 0), ("v6", 1)}
