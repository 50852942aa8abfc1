"""Kafka, a node's namespace and a collector to the integration tests that need them."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lab.apiserver import ApiServer
from standalone.servers import embedded_kafka
from tests.integration.aggregator_world import Store, World, running_store
from tests.integration.collector_world import Collector, Reader
from tests.integration.kafka_broker import Broker, apache_broker, embedded_broker, renew_topics
from tests.integration.watched_cluster import TOKEN, ForgetfulStore, Gate
from tests.kernel.collector_veths import Veths, run, veths


@pytest.fixture(scope="module")
def embedded() -> Iterator[str]:
    """An embedded Kafka of the module."""
    with embedded_kafka() as bootstrap:
        yield bootstrap


@pytest.fixture
def node(request: pytest.FixtureRequest) -> Iterator[Veths]:
    """A node's namespace with the veth v0, 10.9.0.1, to a peer, 10.9.0.2; without IPv6, whose chatter nobody counts."""
    with veths(f"kc{os.getpid()}") as made:
        for name in (made.node, made.peer):
            run("ip", "netns", "exec", name, "sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1")
            run("ip", "netns", "exec", name, "sysctl", "-qw", "net.ipv6.conf.default.disable_ipv6=1")
        made.add("v0")
        run("ip", "-n", made.node, "address", "add", "10.9.0.1/24", "dev", "v0")
        run("ip", "-n", made.peer, "address", "add", "10.9.0.2/24", "dev", "v0p")
        yield made


@pytest.fixture
def new_collector(node: Veths, tmp_path: Path) -> Iterator[Callable[..., Collector]]:
    """Makes collectors of that node; whatever they leave is gone at the end."""
    made: list[Collector] = []

    def make(kafka: str, **settings: str) -> Collector:
        collector = Collector(f"kc-{tmp_path.name}", tmp_path / "bpf", kafka, node, tmp_path, settings)
        made.append(collector)
        return collector

    yield make
    for collector in made:
        collector.end()


@pytest.fixture
def new_reader() -> Iterator[Callable[[Collector], Reader]]:
    """Makes readers of what a collector sent."""
    made: list[Reader] = []

    def make(collector: Collector) -> Reader:
        made.append(Reader(collector.kafka, collector.node))
        return made[-1]

    yield make
    for reader in made:
        reader.close()


@pytest.fixture(scope="session")
def apache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """Apache Kafka, for the whole run."""
    with apache_broker(tmp_path_factory.mktemp("apache-kafka")) as broker:
        yield broker


@pytest.fixture(params=["embedded", "apache"])
def kafka(request: pytest.FixtureRequest) -> Iterator[Broker]:
    """Each of the two Kafkas, with the project's topics, empty."""
    if request.param == "embedded":
        with embedded_broker() as broker:
            yield broker
    else:
        broker = request.getfixturevalue("apache")
        renew_topics(broker.bootstrap)
        yield broker


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """A ClickHouse, for the whole run; each world has a database of its own in it."""
    with running_store(tmp_path_factory.mktemp("clickhouse") / "data") as running:
        yield running


@pytest.fixture
def new_world(store: Store, kafka: Broker, tmp_path: Path) -> Iterator[Callable[..., World]]:
    """Makes worlds on this Kafka, each with tables and a consumer group of its own."""
    made: list[World] = []

    def make() -> World:
        world = World(kafka.bootstrap, store.url, tmp_path)
        world.prepare()
        made.append(world)
        return world

    yield make
    for world in made:
        world.end()


@pytest.fixture
def world(new_world: Callable[..., World]) -> World:
    """A world with tables and no worker yet."""
    return new_world()


@pytest.fixture
def objects() -> ForgetfulStore:
    """What a cluster holds."""
    return ForgetfulStore()


@pytest.fixture
def server(objects: ForgetfulStore) -> Iterator[ApiServer]:
    """Its API server, whose clock stands still: no watch ends, and no bookmark comes, unless a test lets time pass."""
    api = ApiServer(objects, TOKEN, clock=lambda: 0.0)
    with api.serving():
        yield api


@pytest.fixture
def gate(server: ApiServer) -> Iterator[Gate]:
    """A way to it that can be shut."""
    gate = Gate(server.address)
    yield gate
    gate.close()
