"""Packets on a veth to batches on Kafka: every packet that a generator sent is in a record, once."""

from collections.abc import Callable
from ipaddress import IPv6Address
from itertools import pairwise

import pytest

from tests.deadline import Eventually
from tests.integration.collector_ledger import packets_by_hook, totals_by_hook, udp_packets
from tests.integration.collector_world import Collector, Reader, attached
from tests.integration.datagrams import sending
from tests.kernel.collector_veths import Veths

NewCollector = Callable[..., Collector]
NewReader = Callable[[Collector], Reader]
SENT = 20_000


@pytest.mark.parametrize("hook", ["xdp", "tc"])
def test_every_packet_sent_is_in_one_record_and_a_stop_leaves_nothing(
    node: Veths, new_collector: NewCollector, new_reader: NewReader, *, embedded: str, hook: str
) -> None:
    collector = new_collector(embedded, KNI_UPLINKS=f"v0={hook}")
    collector.start()
    with sending(node, "10.9.0.1", count=SENT, flows=50, rate=20_000):
        pass
    collector.stop()
    topics = new_reader(collector).read()
    (batches,) = topics.flows.values()
    assert udp_packets(batches) == SENT
    assert packets_by_hook(batches) == totals_by_hook(batches)
    assert [batch.header.closed for batch in batches] == [False] * (len(batches) - 1) + [True]
    assert batches[-1].header.held_packets == 0
    assert {row["hook"] for inventory in topics.inventories for row in inventory["interfaces"]} == {hook, "tc"}
    assert "10.9.0.1" in topics.inventories[-1]["addresses"]
    assert attached(node, "v0") == ""
    assert not collector.bpffs.is_mount()
    assert list(collector.bpffs.iterdir()) == []


def test_headers_tell_the_node_its_addresses_and_how_far_it_counted(
    node: Veths, new_collector: NewCollector, new_reader: NewReader, *, embedded: str, eventually: Eventually
) -> None:
    collector = new_collector(embedded, KNI_PODS="v*")
    collector.start()
    reader = new_reader(collector)
    eventually(lambda: len([b for ring in reader.read().flows.values() for b in ring]) >= 3, within_seconds=20)
    with sending(node, "10.9.0.1", count=100, flows=1, rate=0):
        pass
    eventually(lambda: udp_packets(next(iter(reader.read().flows.values()))) == 100, within_seconds=20)
    collector.stop()
    topics = reader.read()

    (batches,) = topics.flows.values()
    headers = [batch.header for batch in batches]
    (drops,) = topics.drops.values()
    assert {header.node for header in headers} == {collector.node}
    assert len({header.counting_since_ns for header in headers}) == 1
    assert all(IPv6Address(b"\0" * 10 + b"\xff\xff\x0a\x09\0\1").packed in header.node_addresses for header in headers)
    stated = [header.exported_until_ns for header in headers]
    assert stated == sorted(stated)
    assert all(one.exported_until_ns <= one.created_ns for one in headers)
    silence = [later.created_ns - earlier.created_ns for earlier, later in pairwise(headers)]
    assert max(silence) < 3 * 10**9, "with nothing to say an empty batch goes out every second"
    assert drops[-1].header.closed
    record = next(batch for batch in batches if batch.records.num_rows).records.to_pylist()[0]
    assert record["interface"] == "v0"
    assert record["interface_kind"] == 1
    last = max(records["time_end"].value for batch in batches for records in batch.records.to_pylist())
    assert last <= batches[-1].header.exported_until_ns


def test_its_pages_tell_what_is_attached_and_counted(
    node: Veths, new_collector: NewCollector, embedded: str, eventually: Eventually
) -> None:
    collector = new_collector(embedded, KNI_UPLINKS="v0=xdp")
    collector.start()
    eventually(lambda: collector.get("/readyz")[0] == 200, within_seconds=20)
    with sending(node, "10.9.0.1", count=500, flows=5, rate=0):
        pass
    eventually(lambda: collector.status()["rings"][0]["records_sent"] >= 5, within_seconds=20)
    status = collector.status()
    hooks = {(row["name"], row["kind"], row["direction"], row["hook"]) for row in status["interfaces"]}
    assert hooks == {("v0", "uplink", "ingress", "xdp"), ("v0", "uplink", "egress", "tc")}
    assert (status["is_healthy"], status["is_ready"], status["problems"]) == (True, True, [])
    assert collector.get("/healthz") == (200, "ok\n")
    wanted = {
        'kubenetinsight_protocol_packets_total{direction="ingress",interface="v0",protocol="udp"} 500.0',
        'kubenetinsight_frame_bytes_bucket{direction="ingress",interface="v0",le="256"} 500.0',
        'kubenetinsight_dropped_packets_total{benign="0",reason="NO_SOCKET"} 500.0',
        'kubenetinsight_lost_total{reason="table_full"} 0.0',
    }
    eventually(lambda: wanted <= set(collector.get("/metrics")[1].splitlines()), within_seconds=20)
    assert collector.get("/nothing")[0] == 404
