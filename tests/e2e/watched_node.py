"""A Kafka to a watched node at it: what arrives, and what must hold at the end, whatever happened on the way."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from schemas.batch import Batch
from tests.e2e.books import NOTHING, differences, totals_by_hook
from tests.e2e.collector_under_test import CollectorUnderTest
from tests.e2e.node_pair import Node, node_pair
from tests.integration.collector_world import Reader
from tests.integration.kafka_broker import Broker


class Watched:
    """A connected node, its collector, and what arrives in Kafka."""

    def __init__(self, nodes: tuple[Node, Node], collector: CollectorUnderTest, reader: Reader) -> None:
        self.node, self.other = nodes
        self.collector = collector
        self.reader = reader

    def batches(self) -> list[Batch]:
        """What arrived so far, of the only ring there is."""
        rings = list(self.reader.read().flows.values())
        assert len(rings) <= 1
        return rings[0] if rings else []

    def finish(self) -> list[Batch]:
        """A clean stop with the node's cables cut: all batches, after what must hold whatever happened before."""
        self.node.disconnect()
        self.collector.stop()
        assert self.collector.left_behind() == []
        batches = self.batches()
        last = batches[-1].header
        assert (last.closed, last.held_packets, last.held_bytes) == (True, 0, 0)
        totals = totals_by_hook(batches)
        assert {hook: told["frames"] for hook, told in totals.items()} == self.node.frames()
        assert last.counters["lost_table_full"] == sum(told["lost_packets"] for told in totals.values())
        assert differences(batches) == dict.fromkeys(totals, NOTHING)
        return batches


@contextmanager
def watched_node(kafka: Broker, directory: Path, **settings: str) -> Iterator[Watched]:
    """A node that is watched from its first frame on; it is gone at the end."""
    with ExitStack() as undo:
        nodes = undo.enter_context(node_pair(directory / "net"))
        collector = CollectorUnderTest(nodes[0], kafka.bootstrap, directory, settings)
        undo.callback(collector.end)
        collector.start()
        for node in nodes:
            node.connect()
        reader = Reader(kafka.bootstrap, nodes[0].name)
        undo.callback(reader.close)
        yield Watched(nodes, collector, reader)
