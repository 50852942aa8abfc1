"""Latencies in flow records to histograms: edges and sums."""

import numpy as np
import pytest

from collector.batches import to_flow_columns
from collector.latencies import BUCKETS, EDGES_SECONDS, KINDS, Latencies, to_bucket
from collector.records import FLOW_RECORD

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("nanoseconds", "bucket"),
    [(1, 0), (16_384, 0), (16_385, 1), (32_768, 1), (32_769, 2), (1 << 32, 18), ((1 << 32) - 1, 18)],
)
def test_a_value_is_in_the_first_bucket_whose_edge_it_does_not_pass(nanoseconds: int, bucket: int) -> None:
    assert to_bucket(np.array([nanoseconds], np.uint64)).tolist() == [bucket]
    assert nanoseconds <= EDGES_SECONDS[bucket] * 1e9


def test_handshakes_and_round_trips_are_counted_by_kind_and_side() -> None:
    records = np.zeros(2, FLOW_RECORD)
    records["handshake_ns"] = [[20_000, 0], [40_000, 70_000]]
    records["rtt_count"] = [[3, 0], [0, 10]]
    records["rtt_sum_ns"] = [[6_000, 0], [0, 500_000]]
    records["rtt_samples"][0, 0, :3] = 2_000
    records["rtt_samples"][0, 0, 3:] = 0xFFFF  # of an earlier record: must not count
    records["rtt_samples"][1, 1] = (5 << 11) | 1_600  # 51,200 ns
    latencies = Latencies()
    for batch in (records, records[:0]):
        latencies.add(to_flow_columns(batch, {}, offset_ns=0))
    counts = dict(zip(KINDS, latencies.counts.tolist(), strict=True))
    assert counts["handshake_syn_ack"][:4] == [0, 1, 1, 0]
    assert counts["handshake_ack"][:4] == [0, 0, 0, 1]
    assert counts["rtt"] == [3] + [0] * (BUCKETS - 1)
    assert counts["reverse_rtt"] == [0, 0, 10] + [0] * (BUCKETS - 3)
    assert latencies.sums_ns.tolist() == [60_000, 70_000, 6_000, 500_000]
