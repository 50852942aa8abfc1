"""SIGKILL at every moment of a record's way: nothing lost, and what comes twice is known by its positions."""

import random
import socket
from collections.abc import Callable
from functools import partial

import numpy as np
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
)

from collector.records import FLOW_RECORD
from schemas.topics import FLOWS
from standalone.servers import embedded_kafka
from tests.deadline import Eventually
from tests.integration.collector_ledger import packets_by_hook, totals_by_hook, udp_packets
from tests.integration.collector_world import Collector, Reader
from tests.integration.datagrams import sending, traffic
from tests.integration.kafka_broker import Broker, renew_topics
from tests.kernel.collector_veths import Veths

NewCollector = Callable[..., Collector]
NewReader = Callable[[Collector], Reader]
RING_BYTES = 1 << 16


def has_sent(collector: Collector, records: int) -> bool:
    return bool(collector.status()["rings"][0]["records_sent"] >= records)


def check(reader: Reader, sent: int) -> None:
    """Every packet that was sent is in one record, and the hooks say the same."""
    (batches,) = reader.read().flows.values()
    assert batches[-1].header.closed
    assert udp_packets(batches) == sent
    assert packets_by_hook(batches) == totals_by_hook(batches)


def test_killed_again_and_again_under_traffic_it_loses_nothing(
    node: Veths, new_collector: NewCollector, new_reader: NewReader, *, kafka: Broker, eventually: Eventually
) -> None:
    collector = new_collector(kafka.bootstrap, KNI_UPLINKS="v0=xdp")
    reader = new_reader(collector)
    moments = random.Random(7)
    collector.start()
    with traffic(node, "10.9.0.1", flows=200, rate=5_000) as seen:
        for _ in range(8):
            sent_before = collector.status()["rings"][0]["records_sent"]
            wanted = sent_before + moments.randrange(600)
            eventually(partial(has_sent, collector, wanted), within_seconds=20)
            collector.kill()
            collector.start()
    collector.stop()
    check(reader, seen.sent)


def test_killed_between_sending_and_the_answer_it_sends_again_under_the_same_positions(
    node: Veths, new_collector: NewCollector, new_reader: NewReader, *, kafka: Broker, eventually: Eventually
) -> None:
    collector = new_collector(kafka.bootstrap, KNI_UPLINKS="v0=xdp")
    reader = new_reader(collector)
    collector.start()
    eventually(lambda: collector.get("/readyz")[0] == 200, within_seconds=20)
    with kafka.away():
        with sending(node, "10.9.0.1", count=3_000, flows=300, rate=0):
            pass
        eventually(lambda: collector.status()["rings"][0]["records"] >= 300, within_seconds=20)
        eventually(lambda: collector.status()["rings"][0]["batches_in_flight"] >= 2, within_seconds=20)
        collector.kill()
    collector.start()
    collector.stop()
    check(reader, 3_000)
    (batches,) = reader.topics.flows.values()
    repeated = sum(batch.records.num_rows for batch in batches) - batches[-1].header.first
    assert repeated == 0 or repeated >= 300, "what the broker had received before the kill came again, whole"


def test_a_stalled_broker_fills_the_ring_then_the_table_and_nothing_is_lost(
    node: Veths, new_collector: NewCollector, new_reader: NewReader, *, kafka: Broker, eventually: Eventually
) -> None:
    collector = new_collector(kafka.bootstrap, KNI_UPLINKS="v0=xdp", KNI_RING_BYTES=str(RING_BYTES))
    reader, fill = new_reader(collector), (RING_BYTES - 1) // (FLOW_RECORD.itemsize + 8)
    collector.start()
    eventually(lambda: collector.get("/readyz")[0] == 200, within_seconds=20)
    with kafka.away():
        with sending(node, "10.9.0.1", count=20_000, flows=1_000, rate=5_000):
            pass
        eventually(lambda: collector.status()["rings"][0]["records"] == fill, within_seconds=20)
        eventually(lambda: collector.status()["held_packets"] > 0, within_seconds=20)
        eventually(lambda: collector.get("/readyz")[0] == 503, within_seconds=30)
        assert collector.get("/healthz")[0] == 200, "Kafka being away is no reason to start anew"
    eventually(lambda: collector.status()["held_packets"] == 0, within_seconds=60)
    collector.stop()
    check(reader, 20_000)


def test_stopped_while_kafka_is_away_it_keeps_everything_for_the_next_start(
    node: Veths, new_collector: NewCollector, new_reader: NewReader, *, embedded: str
) -> None:
    away = new_collector("127.0.0.1:1", KNI_UPLINKS="v0=xdp")
    away.start()
    with sending(node, "10.9.0.1", count=1_000, flows=10, rate=0):
        pass
    away.stop()
    told = (away.logs / "collector.log").read_text()
    assert "stay pinned" in told
    assert "the next start" in told
    collector = new_collector(embedded, KNI_UPLINKS="v0=xdp")
    collector.start()
    collector.stop()
    closed = [batches for batches in new_reader(collector).read().flows.values() if udp_packets(batches)]
    (batches,) = closed
    assert batches[-1].header.closed
    assert udp_packets(batches) == 1_000
    assert packets_by_hook(batches) == totals_by_hook(batches)


def test_a_kafka_that_comes_back_empty_gets_all_that_the_old_one_had_not_acknowledged(
    node: Veths, new_collector: NewCollector, new_reader: NewReader, *, eventually: Eventually
) -> None:
    with embedded_kafka() as address:
        collector = new_collector(address, KNI_UPLINKS="v0=xdp")
        collector.start()
        with sending(node, "10.9.0.1", count=1_000, flows=10, rate=0):
            pass
        eventually(lambda: collector.status()["rings"][0]["records_sent"] >= 10, within_seconds=20)
        eventually(lambda: collector.status()["rings"][0]["records"] == 0, within_seconds=20)
        acknowledged = collector.status()["rings"][0]["records_sent"]
    with sending(node, "10.9.0.1", count=1_000, flows=10, rate=0):
        pass
    eventually(lambda: collector.status()["rings"][0]["records"] >= 10, within_seconds=20)
    with embedded_kafka(address):
        eventually(lambda: collector.status()["rings"][0]["records"] == 0, within_seconds=60)
        collector.stop()
        (batches,) = new_reader(collector).read().flows.values()
    assert batches[0].header.first == acknowledged
    assert batches[-1].header.closed
    assert sum(batch.records.num_rows for batch in batches) == batches[-1].next - acknowledged
    # Of ICMP, by which the node answers a closed port, the kernel sends so many a second.
    columns = [(batch.records.column("protocol"), batch.records.column("packets")) for batch in batches]
    is_udp = [np.asarray(protocol) == socket.IPPROTO_UDP for protocol, _ in columns]
    assert sum(int(np.asarray(packets)[udp].sum()) for (_, packets), udp in zip(columns, is_udp, strict=True)) == 1_000


def test_after_an_error_that_a_producer_does_not_survive_a_new_one_begins_where_nothing_was_acknowledged(
    node: Veths, new_collector: NewCollector, new_reader: NewReader, *, apache: Broker, eventually: Eventually
) -> None:
    renew_topics(apache.bootstrap)
    collector = new_collector(apache.bootstrap, KNI_UPLINKS="v0=xdp")
    collector.start()
    eventually(lambda: collector.get("/readyz")[0] == 200, within_seconds=20)
    limit(apache.bootstrap, FLOWS, largest_message=100)
    with sending(node, "10.9.0.1", count=1_000, flows=10, rate=0):
        pass
    log = collector.logs / "collector.log"
    eventually(lambda: "kafka_producer_failed" in log.read_text(), within_seconds=30)
    limit(apache.bootstrap, FLOWS, largest_message=4 << 20)
    eventually(lambda: collector.status()["rings"][0]["records_sent"] >= 10, within_seconds=60)
    collector.stop()
    check(new_reader(collector), 1_000)


def limit(bootstrap: str, topic: str, *, largest_message: int) -> None:
    """Have the brokers refuse larger messages on a topic."""
    entry = ConfigEntry("max.message.bytes", str(largest_message), incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ConfigResource.Type.TOPIC, topic, incremental_configs=[entry])
    admin = AdminClient({"bootstrap.servers": bootstrap})
    for future in admin.incremental_alter_configs([resource]).values():
        future.result(20)
