"""The name of a Kafka to a running broker: the embedded one, or Apache Kafka from its jars."""

import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from schemas import topics
from standalone.kafka import create_topics
from standalone.processes import Child, stop_together
from standalone.servers import address_in, kafka_program
from tests.deadline import eventually
from tests.programs import ENDS_WITH_TEST

JARS = Path(__file__).parents[2] / ".cache" / "kafka" / "jars"
PARTITIONS = 4
PROPERTIES = """
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
controller.listener.names=CONTROLLER
log.dirs={directory}/log
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
group.initial.rebalance.delay.ms=0
message.max.bytes=4194304
"""


@dataclass(frozen=True)
class Broker:
    """A running Kafka of one broker."""

    name: str
    bootstrap: str
    process: subprocess.Popen[str]

    @contextmanager
    def away(self) -> Iterator[None]:
        """It does not answer for as long as the block lasts."""
        self.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)


@contextmanager
def embedded_broker() -> Iterator[Broker]:
    """Embedded Kafka with the project's topics."""
    child = Child(kafka_program("127.0.0.1:0"), None)
    try:
        bootstrap = address_in(child.wait_ready())
        create_topics(bootstrap, topics.ALL)
        yield Broker("embedded", bootstrap, child.process)
    finally:
        assert stop_together([child]) == []


@contextmanager
def apache_broker(directory: Path) -> Iterator[Broker]:
    """Apache Kafka on a directory of its own, without topics."""
    port, controller = free_ports(2)
    properties = directory / "server.properties"
    properties.write_text(PROPERTIES.format(port=port, controller=controller, directory=directory))
    identity = run_java("kafka.tools.StorageTool", "random-uuid").strip().splitlines()[-1]
    run_java("kafka.tools.StorageTool", "format", "-t", identity, "-c", str(properties))
    with (directory / "broker.log").open("w") as log:
        process = subprocess.Popen(
            [*ENDS_WITH_TEST, *java("kafka.Kafka", str(properties))],
            stdout=log,
            stderr=log,
            start_new_session=True,
            text=True,
        )
    try:
        eventually(lambda: answers(port), within_seconds=40)
        yield Broker("apache", f"127.0.0.1:{port}", process)
    finally:
        process.terminate()
        process.wait(30)


def renew_topics(bootstrap: str) -> None:
    """The project's topics, empty, with new ids."""
    admin = AdminClient({"bootstrap.servers": bootstrap})
    there = set(admin.list_topics(timeout=10).topics) & set(topics.ALL)
    if there:
        for future in admin.delete_topics(list(there)).values():
            future.result(20)
    eventually(lambda: not set(admin.list_topics(timeout=10).topics) & set(topics.ALL), within_seconds=20)
    made = admin.create_topics([NewTopic(name, PARTITIONS, 1) for name in topics.ALL])
    for future in made.values():
        future.result(20)
    eventually(lambda: set(admin.list_topics(timeout=10).topics) >= set(topics.ALL), within_seconds=20)


def run_java(*arguments: str) -> str:
    return subprocess.run(java(*arguments), check=True, capture_output=True, text=True, timeout=60).stdout


def java(*arguments: str) -> list[str]:
    memory = ("-Xms64m", "-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
    return ["java", *memory, "-cp", f"{JARS}/*", *arguments]


def free_ports(count: int) -> list[int]:
    """Ports that nobody listened on a moment ago."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [int(each.getsockname()[1]) for each in sockets]
    for each in sockets:
        each.close()
    return ports


def answers(port: int) -> bool:
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", port)):
            return False
    client = Producer({"bootstrap.servers": f"127.0.0.1:{port}", "log_level": 0})
    return bool(client.list_topics(timeout=5).brokers)
