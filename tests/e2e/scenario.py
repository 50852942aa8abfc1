"""A lab under watch to what is left of it: rows in ClickHouse, ledgers, captures, and what every door said meanwhile.

It runs once for all end-to-end tests: traffic through the whole system, then a clean stop, then the stored data opened
again by a ClickHouse of its own; so what the tests ask for has survived the stop.
"""

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import clickhouse_connect
from clickhouse_connect.driver.client import Client

from lab.plan import Pod
from lab.programs.ledger import Entry
from lab.world import World
from standalone.servers import embedded_clickhouse
from standalone.settings import Settings
from standalone.system import Collector, System, Wanted, running_system
from tests.deadline import eventually
from tests.e2e.doors import Doors, visit

ROOT = Path(__file__).parents[2]
TICKETS = 3
"""So many pods that live two seconds must have come and gone before traffic stops."""

STORED_UNTIL = """
SELECT min(until), uniqExact(node, topic)
FROM (
    SELECT node, topic, max(toUnixTimestamp64Nano(exported_until)) AS until FROM completeness GROUP BY node, topic)
"""


@dataclass(frozen=True)
class Scenario:
    """What is left: everything a test may compare."""

    clickhouse: Client
    url: str
    ledger: list[Entry]
    pods: frozenset[Pod]
    """Every pod that was there at some time."""
    captures: Mapping[tuple[str, str], Path]
    """By node and interface; cut after the headers."""
    began_ns: int
    """Captures were running from then on, and the lab's programs not yet."""
    doors: Doors

    def ask(self, sql: str, **parameters: object) -> list[dict[str, object]]:
        """The rows of a query."""
        result = self.clickhouse.query(sql, parameters=parameters)
        return [dict(zip(result.column_names, row, strict=True)) for row in result.result_rows]


@dataclass
class Watched:
    """The live part: a lab, the system that watches it, and the pods seen so far."""

    world: World
    system: System
    directory: Path
    pods: set[Pod] = field(default_factory=set)

    def look(self) -> bool:
        """Note the pods that are there; true when enough short-lived ones have been."""
        self.pods.update(self.world.pods)
        tickets = {pod.full_name for pod in self.pods if pod.workload.name.startswith("ticket")}
        return len(tickets) > TICKETS

    def stored_until(self) -> int:
        """The time (Unix ns) up to which every node's flows and drops are stored."""
        client = clickhouse_connect.get_client(dsn=self.system.clickhouse, database="kubenetinsight")
        rows = client.query(STORED_UNTIL).result_rows
        client.close()
        return int(rows[0][0]) if rows[0][1] == 2 * len(self.world.nodes) else 0


@contextmanager
def scenario(directory: Path, *, offloads: bool, lab_id: str) -> Iterator[Scenario]:
    """Run traffic until every kind of conversation has happened, stop everything cleanly, open the data again."""
    settings = Settings(data=directory, kafka_listen="127.0.0.1:0", clickhouse_listen="127.0.0.1:0")
    with World(lab_id, time.time) as world:
        wanted = Wanted(settings, tuple(_collectors(world)), {"KUBECONFIG": str(world.kubeconfig)}, logs=directory)
        with running_system(wanted) as system:
            watched = Watched(world, system, directory)
            captures, began_ns = _run_traffic(watched, offloads=offloads)
            doors = visit(system.environment | _here(), ROOT, logs=directory)
        ledger = world.ledger()
    with embedded_clickhouse(directory / "clickhouse") as url:
        client = clickhouse_connect.get_client(dsn=url, database="kubenetinsight")
        yield Scenario(client, url, ledger, frozenset(watched.pods), captures, began_ns, doors)
        client.close()


def _run_traffic(watched: Watched, *, offloads: bool) -> tuple[dict[tuple[str, str], Path], int]:
    world = watched.world
    world.offloads(on=offloads)
    captures: dict[tuple[str, str], Path] = {}
    with ExitStack() as running:
        for node in world.nodes:
            interfaces = [pod.interface for pod in world.pods if pod.node == node and not pod.host_network]
            for interface in (*interfaces, node.uplink):
                file = watched.directory / f"{node.name}-{interface}.pcap"
                running.enter_context(world.capture(node.name, interface, file=file, snap_length=192))
                captures[node.name, interface] = file
        began_ns = time.time_ns()
        world.start_traffic()
        eventually(watched.look, within_seconds=90)
        world.stop_traffic()
        stopped_ns = time.time_ns()
        eventually(lambda: watched.stored_until() > stopped_ns + 10 * 10**9, within_seconds=60)
    return captures, began_ns


def _collectors(world: World) -> Iterator[Collector]:
    for index, node in enumerate(world.nodes):
        settings = {
            "KNI_NODE": node.name,
            "KNI_NETNS": str(node.netns_path),
            "KNI_NETNS_DIR": str(node.netns_dir),
            "KNI_UPLINKS": f"{node.uplink}=xdp",
        }
        yield Collector(f"collector-{node.name}", f"127.0.0.1:{19471 + index}", settings)


def _here() -> dict[str, str]:
    return {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
