"""A cluster of 100 nodes and 5,000 pods to the flow records of its nodes, and to the leases that name them."""

from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from schemas import flow_batch
from tests.flow_records import SECOND, addresses, flow_records, header, times

NODES: Final = 100
PODS: Final = 5_000
WORKLOADS: Final = 600
PEERS: Final = 10
"""Workloads that a workload calls; the first ones much more often."""

_RANDOM: Final = np.random.default_rng(7)
_WORKLOAD: Final = np.sort(_RANDOM.integers(0, WORKLOADS, PODS))
_NODE: Final = _RANDOM.integers(0, NODES, PODS)
_PEERS: Final = _RANDOM.integers(0, WORKLOADS, (WORKLOADS, PEERS))
_PORT: Final = _RANDOM.choice(np.array([80, 443, 8080, 5432, 6379, 50051], "u2"), WORKLOADS)


def _pod_addresses() -> npt.NDArray[np.void]:
    """10.244.0.0 and on, 16 bytes each."""
    found = np.zeros((PODS, 16), "u1")
    number = np.arange(PODS)
    found[:, 10:12] = 255
    found[:, 12:] = np.stack([np.full(PODS, 10), np.full(PODS, 244), number // 250, number % 250 + 1], axis=1)
    return found.view("V16")[:, 0]


POD_ADDRESSES: Final = _pod_addresses()


def records_of(node: int, count: int, *, seed: int, end_ns: int, span_ns: int = SECOND) -> pa.RecordBatch:
    """One node's records: connections of its pods with those of their peers."""
    random = np.random.default_rng((node, seed))
    own = np.flatnonzero(np.equal(_NODE, node))
    local = random.choice(own, count)
    peer_workload = _PEERS[_WORKLOAD[local], np.minimum(random.zipf(1.5, count) - 1, PEERS - 1)]
    begins = np.searchsorted(_WORKLOAD, np.arange(WORKLOADS))
    sizes = np.maximum(np.bincount(_WORKLOAD, minlength=WORKLOADS), 1)
    remote = np.minimum(begins[peer_workload] + random.integers(0, 1 << 30, count) % sizes[peer_workload], PODS - 1)
    is_client = random.random(count) < 0.6
    columns = {
        "src_addr": addresses(POD_ADDRESSES[np.where(is_client, local, remote)]),
        "dst_addr": addresses(POD_ADDRESSES[np.where(is_client, remote, local)]),
        "dst_port": pa.array(np.where(is_client, _PORT[peer_workload], _PORT[_WORKLOAD[local]]).astype("u2")),
    }
    records = flow_records(count, seed=seed + node, end_ns=end_ns, span_ns=span_ns)
    for name, column in columns.items():
        place = records.schema.get_field_index(name)
        records = records.set_column(place, records.schema.field(place), column)
    return records


def message(node: int, records: pa.RecordBatch, *, first: int, at_ns: int) -> tuple[str, bytes]:
    """Key and value of one node's batch."""
    name = f"node-{node:03}"
    return name, flow_batch.write_batch(records, header(first, at_ns=at_ns, node=name, ring_id=f"ring-{node}"))


def ended_at(records: pa.RecordBatch, end_ns: int) -> pa.RecordBatch:
    """The same records, all of them ended at this time."""
    for name, at in (("time_start", end_ns - SECOND), ("time_end", end_ns)):
        place = records.schema.get_field_index(name)
        column = times(np.full(records.num_rows, at, "i8"))
        records = records.set_column(place, records.schema.field(place), column)
    return records


def lease_statements() -> list[str]:
    """The statements that store who holds the pods' addresses."""
    rows = [
        f"('::ffff:10.244.{pod // 250}.{pod % 250 + 1}', 'team-{workload % 50}', 'app-{workload}',"
        f" 'app-{workload}-{pod}', 'node-{node:03}', 'uid-{pod}')"
        for pod, (workload, node) in enumerate(zip(_WORKLOAD.tolist(), _NODE.tolist(), strict=True))
    ]
    columns = "VALUES('a String, ns String, w String, pod String, node String, uid String', "
    return [
        "INSERT INTO identities SELECT toIPv6(a), now() - INTERVAL 1 DAY, toDateTime('2100-01-01'), 'pod', ns, w,"  # noqa: S608
        f" 'Deployment', pod, w, node, 'zone-a', uid, 1 FROM {columns}{', '.join(rows[start : start + 1000])})"
        for start in range(0, PODS, 1000)
    ]
