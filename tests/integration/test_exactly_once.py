"""Workers that are killed between two tables, and rebalances, to the rows that an undisturbed run gives."""

import time
from collections.abc import Callable

import pyarrow as pa

from schemas import drop_batch, flow_batch, topics
from tests.deadline import Eventually
from tests.flow_records import NODES, drop_records, flow_records, header
from tests.integration.aggregator_world import World, published, send
from tests.integration.clickhouse_gate import gate

RECORDS = 100
ROUNDS = 12
OVERLAP = 30
"""Every other batch repeats so many records of the one before, as a collector does that had no answer."""


def send_rounds(bootstrap: str, now_ns: int, rounds: range) -> int:
    """Batches of every node, some overlapping, and drops; how many messages."""
    messages = []
    for n in rounds:
        for number, node in enumerate(NODES):
            overlap = OVERLAP if n % 2 else 0
            records = flow_records(RECORDS + overlap, seed=n * 100 + number, end_ns=now_ns)
            if overlap:
                before = flow_records(RECORDS, seed=(n - 1) * 100 + number, end_ns=now_ns)
                records = pa.concat_batches([before.slice(RECORDS - overlap), records.slice(overlap)])
            head = header(n * RECORDS - overlap, at_ns=now_ns, node=node, ring_id=f"ring-{node}")
            messages.append((node, flow_batch.write_batch(records, head)))
    send(bootstrap, topics.FLOWS, messages)
    drops = []
    for n in rounds:
        head = header(n * 10, at_ns=now_ns, node=NODES[0], ring_id="drops")
        drops.append((NODES[0], drop_batch.write_batch(drop_records(10, seed=n, end_ns=now_ns), head)))
    send(bootstrap, topics.DROPS, drops)
    return len(messages) + len(drops)


def undisturbed(new_world: Callable[..., World]) -> World:
    """One worker, left alone, over the same topics; it has begun."""
    world = new_world()
    world.start_worker(KNI_FLUSH_SECONDS="0.7")
    return world


def assert_same_rows(disturbed: World, whole: World) -> None:
    """Every merged window row, every record once, every position once."""
    assert disturbed.windows() == whole.windows()
    records = (
        "SELECT node, count(), sum(packets), sum(bytes), uniqExact(time_end, src_addr, src_port)"
        " FROM flows GROUP BY node ORDER BY node"
    )
    assert disturbed.query(records) == whole.query(records)
    assert disturbed.query(records)[0][1] == RECORDS * ROUNDS
    assert disturbed.count("SELECT sum(gap) FROM completeness") == 0
    spans = "SELECT topic, partition, first, last FROM ingest_log ORDER BY topic, partition, first"
    ends: dict[tuple[str, int], int] = {}
    for topic, partition, first, last in disturbed.query(spans):
        assert ends.get((topic, partition), 0) == first
        ends[topic, partition] = last + 1


def killed_at(world: World, table: str, eventually: Eventually) -> None:
    """A worker that dies when it is about to insert into a table for the second time."""
    with gate(world.store_url, table, number=2, on_insert=world.kill_newest) as (address, guard):
        world.clickhouse = address
        worker = world.start_worker()
        eventually(guard.is_shut.is_set, within_seconds=40)
        worker.kill()
    world.clickhouse = ""


def test_workers_killed_between_two_tables_leave_the_same_rows_as_an_undisturbed_run(
    new_world: Callable[..., World], eventually: Eventually
) -> None:
    now_ns = time.time_ns()
    world = new_world()
    half = send_rounds(world.bootstrap, now_ns, range(ROUNDS // 2))
    killed_at(world, "window_protocols", eventually)
    assert world.count("SELECT count() FROM flows") > world.count("SELECT sum(flows) FROM window_protocols")
    killed_at(world, "completeness", eventually)
    assert world.stored_messages() < half
    world.start_worker()
    world.start_worker()
    whole = undisturbed(new_world)
    messages = half + send_rounds(world.bootstrap, now_ns, range(ROUNDS // 2, ROUNDS))
    world.wait_stored(messages)
    whole.wait_stored(messages)
    assert_same_rows(world, whole)
    eventually(lambda: told(world) == stored(world), within_seconds=40)


def stored(world: World) -> dict[str, tuple[int, ...]]:
    """Rows and sums of the window tables by SQL."""
    windows = world.windows()
    (protocols,) = world.query("SELECT sum(flows), sum(bytes) FROM window_protocols")
    (latency,) = world.query("SELECT sum(rtt_count), sum(rtt_sum_ns) FROM window_latency")
    (drops,) = world.query("SELECT sum(packets), sum(bytes) FROM window_drops")
    sums = {"window_protocols": protocols, "window_latency": latency, "window_drops": drops}
    return {table: (len(windows[table]), *found) for table, found in sums.items()}


def told(world: World) -> dict[str, tuple[int, ...]]:
    """The same by what a consumer of the windows topic has kept."""
    columns = {
        "window_protocols": ("flows", "bytes"),
        "window_latency": ("rtt_count", "rtt_sum_ns"),
        "window_drops": ("packets", "bytes"),
    }
    kept = {table: list(rows.values()) for table, rows in published(world.bootstrap).items()}
    return {
        table: (len(rows), *(sum(row[name] for row in rows) for name in columns[table])) for table, rows in kept.items()
    }


def test_two_workers_share_partitions_and_a_rebalance_in_the_middle_changes_no_row(
    new_world: Callable[..., World], eventually: Eventually
) -> None:
    now_ns = time.time_ns()
    world = new_world()
    first = world.start_worker()
    messages = send_rounds(world.bootstrap, now_ns, range(4))
    world.wait_stored(messages)
    second = world.start_worker()
    messages += send_rounds(world.bootstrap, now_ns, range(4, 8))
    assignments = "kubenetinsight_aggregator_assignments_total"
    eventually(lambda: second.metric(assignments) >= 1 and first.metric(assignments) >= 2, within_seconds=90)
    messages += send_rounds(world.bootstrap, now_ns, range(8, 10))
    stored = "kubenetinsight_aggregator_ranges_total"
    eventually(lambda: first.metric(stored) > 0 and second.metric(stored) > 0, within_seconds=30)
    assert first.stop() == 0
    whole = undisturbed(new_world)
    messages += send_rounds(world.bootstrap, now_ns, range(10, ROUNDS))
    world.wait_stored(messages)
    whole.wait_stored(messages)
    assert_same_rows(world, whole)
