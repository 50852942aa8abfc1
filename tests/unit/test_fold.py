"""Identified records to partial windows: nothing lost, nothing double, whatever the order and however split."""

from collections import defaultdict
from collections.abc import Iterable
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aggregator.fold import DST, PROTOCOL_SUMS, ROUND_TRIPS, SRC, fold_drops, fold_flows
from aggregator.identity.identify import Origins, identify_drops, identify_flows
from aggregator.identity.snapshot import Snapshot
from schemas.batch import Batch
from tests.flow_records import SECOND, drop_records, flow_records, header
from tests.known_pods import known_pods

NOW = 1_800_000_000 * SECOND
EDGE = (
    "window",
    *(f"src_{name}" for name in SRC),
    *(f"dst_{name}" for name in DST),
    "protocol",
    "dst_port",
    "reporter",
    "authoritative",
)
DROP = ("window", "node", "reason", "call_site", "benign", "src_workload", "dst_workload", "src_namespace", "protocol")


@cache
def pods() -> Snapshot:
    return known_pods()


def fold(records: pa.RecordBatch) -> dict[str, pa.Table]:
    origins = Origins.of([Batch(header(0, at_ns=NOW), records)])
    return fold_flows(records, identify_flows(records, origins, snapshot=pods()), leases=pods().leases)


def merged(tables: Iterable[pa.Table], keys: tuple[str, ...]) -> dict[tuple[Any, ...], dict[str, Any]]:
    """What ClickHouse makes of partial rows: sums, minima, maxima, histograms added up."""
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    for row in (row for table in tables for row in table.to_pylist()):
        key = tuple(row.pop(name) for name in keys)
        before = found.get(key)
        found[key] = row if before is None else {name: _merge(name, before[name], row[name]) for name in row}
    return {key: {name: _plain(value) for name, value in row.items()} for key, row in found.items()}


def _merge(name: str, one: Any, other: Any) -> Any:
    if name.endswith("min_ns"):
        return min(one, other)
    if name.endswith("max_ns"):
        return max(one, other)
    if name.endswith("histogram"):
        total: dict[int, int] = defaultdict(int)
        for bucket, weight in [*_plain(one).items(), *_plain(other).items()]:
            total[bucket] += weight
        return dict(total)
    return one + other


def _plain(value: Any) -> Any:
    return dict(value) if isinstance(value, list) else value


def everything(parts: list[pa.RecordBatch]) -> dict[str, dict[tuple[Any, ...], dict[str, Any]]]:
    folded = [fold(part) for part in parts]
    return {
        "protocols": merged((each["window_protocols"] for each in folded if each), EDGE),
        "latency": merged((each["window_latency"] for each in folded if "window_latency" in each), EDGE),
    }


@settings(max_examples=30)
@given(st.integers(1, 60), st.integers(0, 1000), st.data())
def test_any_order_and_any_split_give_the_same_windows(count: int, seed: int, data: st.DataObject) -> None:
    records = flow_records(count, seed=seed, end_ns=NOW, span_ns=25 * SECOND)
    order = data.draw(st.permutations(range(count)))
    cut = data.draw(st.integers(0, count))
    shuffled = records.take(pa.array(order))
    assert everything([records]) == everything([shuffled.slice(0, cut), shuffled.slice(cut)])


@settings(max_examples=30)
@given(st.integers(1, 200), st.integers(0, 1000))
def test_what_goes_in_comes_out(count: int, seed: int) -> None:
    records = flow_records(count, seed=seed, end_ns=NOW, span_ns=25 * SECOND)
    folded = fold(records)
    protocols = folded["window_protocols"]
    for name in PROTOCOL_SUMS:
        assert sum(protocols.column(name).to_pylist()) == sum(records.column(name).to_pylist())
    assert sum(protocols.column("flows").to_pylist()) == count
    latency = folded["window_latency"].to_pylist()
    for name in ROUND_TRIPS:
        counts = sum(records.column(f"{name}_count").to_pylist())
        assert sum(row[f"{name}_count"] for row in latency) == counts
        assert sum(sum(dict(row[f"{name}_histogram"]).values()) for row in latency) == counts
        assert sum(row[f"{name}_sum_ns"] for row in latency) == sum(records.column(f"{name}_sum_ns").to_pylist())
    seen = np.array(records.column("handshake_syn_ack_ns").to_pylist()) > 0
    assert sum(row["handshake_count"] for row in latency) == int(seen.sum())


@pytest.mark.parametrize(
    ("sent", "kept"), [(443, 443), (32767, 32767), (32768, 0), (65535, 0)], ids=["https", "last", "first", "highest"]
)
def test_a_port_of_the_ephemeral_range_names_no_service(sent: int, kept: int) -> None:
    records = flow_records(3, seed=1, end_ns=NOW, span_ns=1)
    place = records.schema.get_field_index("dst_port")
    records = records.set_column(place, records.schema.field(place), pa.array([sent] * 3, pa.uint16()))
    assert set(fold(records)["window_protocols"].column("dst_port").to_pylist()) == {kept}


def test_a_record_belongs_to_the_window_of_its_end() -> None:
    border = 1_800_000_000 * SECOND
    windows = [
        fold(flow_records(1, seed=1, end_ns=end, span_ns=1))["window_protocols"].column("window").to_pylist()
        for end in (border - 1, border, border + 10 * SECOND - 1)
    ]
    assert windows == [[1_799_999_990], [1_800_000_000], [1_800_000_000]]


def test_no_records_give_no_rows() -> None:
    assert fold(flow_records(1, seed=1, end_ns=NOW).slice(1)) == {}


@settings(max_examples=30)
@given(st.integers(1, 80), st.integers(0, 1000), st.data())
def test_drops_fold_by_node_and_cause(count: int, seed: int, data: st.DataObject) -> None:
    records = drop_records(count, seed=seed, end_ns=NOW)

    def folded(part: pa.RecordBatch) -> pa.Table:
        origins = Origins.of([Batch(header(0, at_ns=NOW), part)])
        identified = identify_drops(part, origins, snapshot=pods())
        return fold_drops(part, identified, leases=pods().leases, origins=origins)["window_drops"]

    cut = data.draw(st.integers(1, count))
    parts = [part for part in (records.slice(0, cut), records.slice(cut)) if part.num_rows]
    keys = (*DROP, "src_workload_kind", "dst_namespace", "dst_workload_kind")
    whole = merged([folded(records)], keys)
    assert whole == merged([folded(part) for part in parts], keys)
    assert sum(row["packets"] for row in whole.values()) == sum(records.column("packets").to_pylist())
    assert sum(row["bytes"] for row in whole.values()) == sum(records.column("bytes").to_pylist())
