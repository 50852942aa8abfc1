"""Batches in Kafka to rows in ClickHouse and rows of windows in Kafka, by one worker."""

import json
import time

from schemas import drop_batch, flow_batch, topics
from schemas.batch import Batch
from tests.deadline import Eventually
from tests.flow_records import NODES, addresses, drop_records, flow_records, header, mapped
from tests.integration.aggregator_world import World, published, send

BATCHES = 5
RECORDS = 200


def send_flows(world: World, now_ns: int, *, batches: int = BATCHES) -> list[Batch]:
    """Batches of each node, in order; what was sent."""
    sent = []
    for n in range(batches):
        for number, node in enumerate(NODES):
            records = flow_records(RECORDS, seed=n * 100 + number, end_ns=now_ns)
            head = header(n * RECORDS, at_ns=now_ns, node=node, ring_id=f"ring-{node}")
            sent.append((node, flow_batch.write_batch(records, head)))
    send(world.bootstrap, topics.FLOWS, sent)
    return [flow_batch.read_batch(value, now_ns=now_ns) for _, value in sent]


def test_what_collectors_send_is_what_sql_and_the_windows_topic_say(world: World, eventually: Eventually) -> None:
    now_ns = time.time_ns()
    sent = send_flows(world, now_ns)
    drops = drop_records(50, seed=1, end_ns=now_ns)
    message = drop_batch.write_batch(drops, header(0, at_ns=now_ns, ring_id="drops"))
    send(world.bootstrap, topics.DROPS, [(NODES[0], message)])
    worker = world.start_worker()
    world.wait_stored(len(sent) + 1)

    octets = sum(sum(batch.records.column("bytes").to_pylist()) for batch in sent)
    samples = sum(sum(batch.records.column("rtt_count").to_pylist()) for batch in sent)
    assert world.query("SELECT count(), sum(bytes), uniq(node) FROM flows") == [
        (RECORDS * len(sent), octets, len(NODES))
    ]
    assert world.query("SELECT sum(flows), sum(bytes) FROM window_protocols") == [(RECORDS * len(sent), octets)]
    assert world.query("SELECT sum(rtt_count), sum(arraySum(mapValues(rtt_histogram))) FROM window_latency") == [
        (samples, samples)
    ]
    assert world.query("SELECT sum(packets), sum(bytes) FROM window_drops") == [
        (sum(drops.column("packets").to_pylist()), sum(drops.column("bytes").to_pylist()))
    ]
    assert world.count("SELECT count() FROM flows WHERE src_workload_kind != 'Deployment'") == 0
    assert world.count("SELECT countIf(attribution_lag_ns BETWEEN 1 AND 60e9) FROM flows") == RECORDS * len(sent)
    assert world.count("SELECT sum(gap) + sum(repeated) FROM completeness") == 0

    rows = {table: len(found) for table, found in world.windows().items()}
    eventually(lambda: {t: len(found) for t, found in published(world.bootstrap).items()} == rows, within_seconds=60)
    told = published(world.bootstrap)["window_protocols"].values()
    assert sum(row["bytes"] for row in told) == octets
    assert worker.metric("kubenetinsight_aggregator_records_total") == RECORDS * len(sent) + 50
    assert worker.answer("/healthz") == worker.answer("/readyz") == "ok\n"
    assert worker.stop() == 0


def test_a_stop_drains_what_has_come_and_a_new_worker_goes_on_behind_it(world: World, eventually: Eventually) -> None:
    now_ns = time.time_ns()
    first = world.start_worker(KNI_FLUSH_SECONDS="5")
    sent = send_flows(world, now_ns, batches=2)
    world.wait_stored(1)
    more = [
        (
            node,
            flow_batch.write_batch(
                flow_records(10, seed=9, end_ns=now_ns),
                header(2 * RECORDS, at_ns=now_ns, node=node, ring_id=f"ring-{node}"),
            ),
        )
        for node in NODES
    ]
    send(world.bootstrap, topics.FLOWS, more)
    assert first.stop() == 0
    assert world.stored_messages() == len(sent) + len(more)
    second = world.start_worker()
    send(world.bootstrap, topics.FLOWS, more)
    world.wait_stored(len(sent) + 2 * len(more))
    assert world.count("SELECT count() FROM flows") == RECORDS * len(sent) + 10 * len(more)
    # The log is written before completeness.
    eventually(lambda: world.count("SELECT sum(repeated) FROM completeness") == 10 * len(more), within_seconds=20)
    assert second.stop() == 0


def test_a_nodes_own_addresses_come_from_the_inventory_and_are_stored_as_leases(
    world: World, eventually: Eventually
) -> None:
    says = {"node": "node-1", "addresses": ["192.168.7.1", "fe80::1%eth0", "fd00::7/64"], "boot_id": "b"}
    send(world.bootstrap, topics.COLLECTORS, [("node-1", b"no JSON"), ("node-1", json.dumps(says).encode())])
    worker = world.start_worker()
    leases = "SELECT workload, workload_kind FROM identities FINAL WHERE address IN ('::ffff:192.168.7.1', 'fd00::7')"
    eventually(lambda: world.query(leases) == [("node-1", "Node")] * 2, within_seconds=40)
    now_ns = time.time_ns()
    records = flow_records(3, seed=1, end_ns=now_ns, span_ns=1)
    place = records.schema.get_field_index("src_addr")
    records = records.set_column(place, records.schema.field(place), addresses(mapped(["192.168.7.1"] * 3)))
    send(world.bootstrap, topics.FLOWS, [("node-1", flow_batch.write_batch(records, header(0, at_ns=now_ns)))])
    world.wait_stored(1)
    assert world.query("SELECT src_workload, src_workload_kind FROM flows") == [("node-1", "Node")] * 3
    assert worker.stop() == 0
