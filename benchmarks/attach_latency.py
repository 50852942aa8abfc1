"""Two hundred veths made at once to the time until each is counted at: the kernel's event to both hooks attached.

The clock starts when a listener of the benchmark's own gets the event of a new interface, and ends when the collector
has both filters attached: it says so in its log.
"""

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from datetime import datetime
from pathlib import Path

import numpy as np

from benchmarks.figures import Figure, show
from collector.netlink import Events
from collector.netlink_messages import Link
from standalone.servers import embedded_kafka

NODE = "kcal"
COUNT = 200
DEADLINE_SECONDS = 60


def main() -> int:
    """Measure; status 1 when an interface was not attached."""
    with tempfile.TemporaryDirectory() as directory:
        run("ip", "netns", "add", NODE)
        try:
            with embedded_kafka() as kafka:
                return measure(Path(directory), kafka)
        finally:
            run("ip", "netns", "del", NODE)


def measure(directory: Path, kafka: str) -> int:
    """Print the figures."""
    log = directory / "log"
    collector = start_collector(directory, log, kafka=kafka)
    seen: dict[str, float] = {}
    listener = threading.Thread(target=listen, args=(seen,))
    try:
        listener.start()
        make_veths()
        attached = wait_for_all(log)
        listener.join(timeout=DEADLINE_SECONDS)
    finally:
        collector.terminate()
        collector.wait(timeout=30)
    latencies = [(attached[name] - seen[name]) * 1e3 for name in seen if name in attached]
    if len(latencies) < COUNT:
        sys.stderr.write(f"attach_latency: {COUNT - len(latencies)} of {COUNT} interfaces were not attached\n")
        return 1
    show(
        f"{COUNT} veths at once: netlink event to attached",
        [
            Figure(name="p50", value=float(np.percentile(latencies, 50)), unit="ms"),
            Figure(name="p99", value=float(np.percentile(latencies, 99)), unit="ms", at_most=100),
            Figure(name="largest", value=max(latencies), unit="ms"),
        ],
    )
    return 0


def start_collector(directory: Path, log: Path, *, kafka: str) -> subprocess.Popen[str]:
    """A collector that counts at what is called pod…."""
    environment = {
        **os.environ,
        "KNI_NODE": NODE,
        "KNI_NETNS": f"/run/netns/{NODE}",
        "KNI_NETNS_DIR": str(directory),
        "KNI_BPFFS": str(directory / "bpf"),
        "KNI_UPLINKS": "",
        "KNI_PODS": "pod*",
        "KNI_CONVERSATIONS": "4096",
        "KNI_KAFKA": kafka,
        "KNI_COLLECTOR_LISTEN": "127.0.0.1:0",
    }
    with log.open("w") as errors:
        collector = subprocess.Popen(
            [sys.executable, "-m", "collector"], env=environment, stdout=subprocess.PIPE, stderr=errors, text=True
        )
    if collector.stdout is None or not collector.stdout.readline().startswith("ready"):
        raise RuntimeError(log.read_text())
    return collector


def listen(seen: dict[str, float]) -> None:
    """When each interface's first event came."""
    events = Events(Path("/run/netns") / NODE)
    deadline = time.monotonic() + DEADLINE_SECONDS
    while len(seen) < COUNT and time.monotonic() < deadline:
        for event in events.receive(1):
            if isinstance(event, Link) and event.name.startswith("pod"):
                seen.setdefault(event.name, time.time())
    events.close()


def make_veths() -> None:
    """One program makes all, as fast as the kernel does."""
    lines = [f"link add pod{n} type veth peer name in{n}" for n in range(COUNT)]
    subprocess.run(["ip", "-n", NODE, "-batch", "-"], input="\n".join(lines), text=True, check=True)


def wait_for_all(log: Path) -> dict[str, float]:
    """When each interface was attached, by the collector's log."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    attached: dict[str, float] = {}
    while len(attached) < COUNT and time.monotonic() < deadline:
        attached = {}
        for line in log.read_text().splitlines():
            event = json.loads(line) if line.startswith("{") else {}
            if event.get("event") == "attached":
                attached[event["interface"]] = datetime.fromisoformat(event["timestamp"]).timestamp()
        time.sleep(0.2)
    return attached


def run(*command: str) -> None:
    """A program that must succeed."""
    subprocess.run(command, check=True)


if __name__ == "__main__":
    sys.exit(main())
