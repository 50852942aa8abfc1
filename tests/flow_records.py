"""A seed to flow and drop records as collectors send them: whole columns, the same for the same seed."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from schemas import drop_batch, flow_batch
from schemas.batch import BatchHeader

NODES = ("node-1", "node-2", "node-3", "node-4", "node-5", "node-6")
PODS = tuple(f"10.244.{node}.{host}" for node in range(1, 7) for host in range(2, 12))
SECOND = 10**9

Columns = dict[str, pa.Array]


def mapped(texts: Sequence[str]) -> npt.NDArray[np.void]:
    """IPv4 addresses as 16 bytes each."""
    bytes_ = np.zeros((len(texts), 16), "u1")
    bytes_[:, 10:12] = 255
    bytes_[:, 12:] = [[int(part) for part in text.split(".")] for text in texts]
    return bytes_.view("V16")[:, 0]


def addresses(values: npt.NDArray[np.void]) -> pa.Array:
    """Addresses as an Arrow column."""
    return pa.Array.from_buffers(pa.binary(16), len(values), [None, pa.py_buffer(np.ascontiguousarray(values))])


def times(values: npt.NDArray[np.int64]) -> pa.Array:
    """Unix nanoseconds as an Arrow column."""
    return pa.array(values.astype("i8")).view(flow_batch.TIME)


def names(codes: npt.NDArray[np.integer], words: Sequence[str]) -> pa.Array:
    """Names as an Arrow column."""
    return pa.DictionaryArray.from_arrays(pa.array(codes.astype("i4")), pa.array(words))


def flow_records(count: int, *, seed: int, end_ns: int, span_ns: int = SECOND) -> pa.RecordBatch:
    """Records between pods, and to the outside, that ended within the span before `end_ns`."""
    random = np.random.default_rng(seed)
    pods, outside = mapped(PODS), mapped(["203.0.113.9", "198.51.100.7"])
    end = end_ns - random.integers(0, span_ns, count)
    to_outside = random.random(count) < 0.1
    dst = np.where(to_outside, random.choice(outside, count), random.choice(pods, count))
    columns: Columns = {
        "time_start": times(end - random.integers(0, SECOND, count)),
        "time_end": times(end),
        "src_addr": addresses(random.choice(pods, count)),
        "dst_addr": addresses(dst),
        "interface": names(random.integers(0, 3, count), ["eth0", "veth1", "veth2"]),
        "outer_src_addr": addresses(np.zeros(count, "V16")),
        "outer_dst_addr": addresses(np.zeros(count, "V16")),
    }
    numbers: dict[str, npt.NDArray[np.integer]] = {
        "src_port": random.integers(32768, 60999, count),
        "dst_port": random.choice([80, 443, 5432, 53, 40000], count),
        "protocol": random.choice([6, 17], count, p=[0.8, 0.2]),
        "ip_version": np.full(count, 4),
        "interface_kind": np.ones(count, "u1"),
        "flow_direction": random.integers(0, 2, count),
        "biflow_direction": np.ones(count, "u1"),
        "flow_end_reason": random.integers(1, 4, count),
        "packets": random.integers(1, 50, count),
        "bytes": random.integers(60, 60_000, count),
        "reverse_packets": random.integers(0, 50, count),
        "reverse_bytes": random.integers(0, 60_000, count),
        "connections_opened": random.integers(0, 2, count),
        "connections_closed": random.integers(0, 2, count),
        "retransmits": (random.random(count) < 0.02).astype("u4"),
        "handshake_syn_ack_ns": np.where(random.random(count) < 0.3, random.integers(10**4, 10**6, count), 0),
        "handshake_ack_ns": random.integers(10**4, 10**6, count),
    }
    for name in ("rtt", "reverse_rtt"):
        columns |= _latency(name, random, count)
    return _batch(columns, numbers, schema=flow_batch.SCHEMA, count=count)


def drop_records(count: int, *, seed: int, end_ns: int) -> pa.RecordBatch:
    """Drops of packets between pods within the second before `end_ns`."""
    random = np.random.default_rng(seed)
    end = end_ns - random.integers(0, SECOND, count)
    columns: Columns = {
        "time_start": times(end - SECOND),
        "time_end": times(end),
        "src_addr": addresses(random.choice(mapped(PODS), count)),
        "dst_addr": addresses(random.choice(mapped(PODS), count)),
        "interface": names(np.zeros(count, "i4"), ["eth0"]),
        "reason": names(random.integers(0, 2, count), ["NETFILTER_DROP", "SOCKET_RCVBUFF"]),
        "call_site": names(random.integers(0, 2, count), ["nft_do_chain+0x1", "udp_queue_rcv_one_skb+0x2"]),
    }
    numbers: dict[str, npt.NDArray[np.integer]] = {
        "dst_port": random.choice([80, 443], count),
        "protocol": np.full(count, 6),
        "ip_version": np.full(count, 4),
        "packets": random.integers(1, 50, count),
        "bytes": random.integers(60, 60_000, count),
    }
    return _batch(columns, numbers, schema=drop_batch.SCHEMA, count=count)


def header(first: int, *, at_ns: int, node: str = NODES[0], ring_id: str = "ring", **more: object) -> BatchHeader:
    """A header whose chain began an hour ago and reaches up to `at_ns`."""
    stated: dict[str, object] = {
        "boot_id": "boot",
        "counting_since_ns": at_ns - 3600 * SECOND,
        "exported_until_ns": at_ns,
        "created_ns": at_ns,
    }
    return BatchHeader(node=node, ring_id=ring_id, first=first, **(stated | more))  # type: ignore[arg-type]


def _latency(name: str, random: np.random.Generator, count: int) -> Columns:
    """Four latency columns and the reservoir, as they hang together."""
    measured = random.poisson(2, count).astype("u4")
    samples = np.exp(random.normal(12.5, 0.8, (count, flow_batch.SAMPLES))).astype("u4")
    samples[np.arange(flow_batch.SAMPLES) >= measured[:, None]] = 0
    kept = np.minimum(measured, flow_batch.SAMPLES)
    total = samples.sum(axis=1, dtype="u8")
    low = np.where(samples > 0, samples, np.iinfo("u4").max).min(axis=1)
    return {
        f"{name}_count": pa.array(measured),
        f"{name}_sum_ns": pa.array(np.where(kept > 0, total * measured // np.maximum(kept, 1), 0).astype("u8")),
        f"{name}_min_ns": pa.array(np.where(kept > 0, low, 0).astype("u4")),
        f"{name}_max_ns": pa.array(samples.max(axis=1)),
        f"{name}_samples": pa.FixedSizeListArray.from_arrays(
            pa.array(samples.reshape(-1)), type=flow_batch.SCHEMA.field(f"{name}_samples").type
        ),
    }


def _batch(
    columns: Columns, numbers: dict[str, npt.NDArray[np.integer]], *, schema: pa.Schema, count: int
) -> pa.RecordBatch:
    """The columns in the schema's order; numbers that are not given are 0."""
    zero = np.zeros(count, "u8")
    whole = columns | {
        field.name: pa.array(numbers.get(field.name, zero).astype(field.type.to_pandas_dtype()))
        for field in schema
        if field.name not in columns
    }
    return pa.RecordBatch.from_arrays([whole[name] for name in schema.names], schema=schema)
