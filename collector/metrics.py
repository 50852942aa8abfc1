"""The collector's state to Prometheus metrics, made when asked for: nothing is counted twice."""

from collections.abc import Callable, Iterator
from typing import Final

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from collector.inventory import DIRECTIONS
from collector.latencies import EDGES_SECONDS, KINDS
from collector.state import State
from schemas.interface_totals import OUTCOMES, PROTOCOL_CLASSES, SIZE_BUCKETS

_PREFIX: Final = "kubenetinsight"
_HOOK: Final = ("interface", "direction")


class Metrics(Collector):
    """A scrape of the collector's state."""

    def __init__(self, state: Callable[[], State]) -> None:
        self._state = state
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)

    def describe(self) -> Iterator[Metric]:
        """Names are made by `collect`: there is nothing to read before the first interface."""
        return iter(())

    def render(self) -> bytes:
        """The text format."""
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        """All metrics of one moment."""
        state = self._state()
        yield from _traffic(state)
        yield from _latencies(state)
        yield from _losses(state)
        yield from _health(state)


def _traffic(state: State) -> Iterator[Metric]:
    """What each hook saw: outcomes add up to all packets."""
    packets = CounterMetricFamily(
        f"{_PREFIX}_packets", "As on the wire, by what became of them", labels=[*_HOOK, "outcome"]
    )
    volume = CounterMetricFamily(f"{_PREFIX}_bytes", "Frame bytes, by what became of them", labels=[*_HOOK, "outcome"])
    protocols = CounterMetricFamily(f"{_PREFIX}_protocol_packets", "Packets by protocol", labels=[*_HOOK, "protocol"])
    sizes = HistogramMetricFamily(
        f"{_PREFIX}_frame_bytes", "Frame lengths of packets with a conversation", labels=_HOOK
    )
    for row, value in enumerate(state.totals.values):
        labels = [state.totals.slots[row // 2].name, DIRECTIONS[row % 2]]
        for outcome, name in enumerate(OUTCOMES):
            packets.add_metric([*labels, name], float(value["packets"][outcome]))
            volume.add_metric([*labels, name], float(value["bytes"][outcome]))
        for protocol, name in enumerate(PROTOCOL_CLASSES):
            protocols.add_metric([*labels, name], float(value["size_packets"][protocol].sum()))
        reached = value["size_packets"].sum(axis=0).cumsum()
        edges = [str(64 << bucket) for bucket in range(SIZE_BUCKETS - 1)] + ["+Inf"]
        sizes.add_metric(labels, list(zip(edges, reached.tolist(), strict=True)), float(value["size_bytes"].sum()))
    yield from (packets, volume, protocols, sizes)


def _latencies(state: State) -> Iterator[Metric]:
    family = HistogramMetricFamily(
        f"{_PREFIX}_latency_seconds",
        "Seen at this node's interfaces: halves of TCP handshakes, round trips to the server and back",
        labels=["kind"],
    )
    edges = [*map(str, EDGES_SECONDS), "+Inf"]
    for kind, name in enumerate(KINDS):
        reached = state.latencies.counts[kind].cumsum().tolist()
        family.add_metric([name], list(zip(edges, reached, strict=True)), float(state.latencies.sums_ns[kind]) / 1e9)
    yield family


def _losses(state: State) -> Iterator[Metric]:
    dropped = CounterMetricFamily(
        f"{_PREFIX}_dropped_packets",
        "Dropped by this node's kernel; benign: ordinary life of a healthy connection",
        labels=["reason", "benign"],
    )
    for (reason, is_benign), packets in sorted(state.drops_by_reason.items()):
        dropped.add_metric([reason, str(int(is_benign))], packets)
    lost = CounterMetricFamily(f"{_PREFIX}_lost", "What the collector could not count or keep", labels=["reason"])
    events = CounterMetricFamily(f"{_PREFIX}_events", "What else the kernel side counts", labels=["event"])
    for name, value in sorted(state.counters.items()):
        if name.startswith("lost_"):
            lost.add_metric([name.removeprefix("lost_")], value)
        else:
            events.add_metric([name], value)
    yield from (dropped, lost, events)


def _health(state: State) -> Iterator[Metric]:
    for name, help_text, value in (
        ("held_packets", "In the table of conversations, not exported yet", state.held_packets),
        ("held_bytes", "In the table of conversations, not exported yet", state.held_bytes),
        ("conversations", "In the table", state.conversations),
        ("conversation_places", "The table's size", state.places),
        ("interfaces", "Counted at", len({entry.ifindex for entry in state.interfaces})),
        ("interfaces_refused", "That should be counted at and can't be", len(state.refused)),
        (
            "last_acknowledged_age_seconds",
            "Since Kafka acknowledged a batch",
            _age_seconds(state, state.last_acknowledged_ns),
        ),
        ("last_sweep_age_seconds", "Since the table was swept", _age_seconds(state, state.last_tick_ns)),
    ):
        yield GaugeMetricFamily(f"{_PREFIX}_collector_{name}", help_text, value=value)
    yield CounterMetricFamily(
        f"{_PREFIX}_collector_publish_errors", "Told by Kafka's client", value=state.publish_errors
    )
    yield CounterMetricFamily(
        f"{_PREFIX}_collector_uncovered",
        "Times somebody else's program was found before ours: counting began anew",
        value=state.uncovered,
    )
    fill = GaugeMetricFamily(f"{_PREFIX}_collector_ring_fill_ratio", "Full is 1", labels=["topic"])
    flight = GaugeMetricFamily(f"{_PREFIX}_collector_batches_in_flight", "Not acknowledged", labels=["topic"])
    sent = CounterMetricFamily(f"{_PREFIX}_collector_records", "Acknowledged by Kafka", labels=["topic"])
    for ring in (state.flows, state.drops):
        fill.add_metric([ring.topic], ring.records / ring.capacity)
        flight.add_metric([ring.topic], ring.batches_in_flight)
        sent.add_metric([ring.topic], ring.records_sent)
    yield from (fill, flight, sent)


def _age_seconds(state: State, since_ns: int) -> float:
    """How long ago; since the start when never."""
    return (state.now_ns - (since_ns or state.started_ns)) / 1e9
