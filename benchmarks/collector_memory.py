"""A collector under 1,000 flow records a second to its resident memory and its share of a core.

Each of so many conversations sends a packet a second, evenly over the second. Counted is the processor time of all
threads, by the scheduler's own clock. The kernel counts the pages of BPF maps that a process looks at as that process's
memory, though they are the kernel's own and there with or without it: they are told apart. Baseline: a Python process
that has loaded the same libraries and does nothing.
"""

import re
import subprocess
import sys
import time
from pathlib import Path
from urllib.request import urlopen

from benchmarks.collector_run import Running, running_collector
from benchmarks.figures import Figure, show

FLOWS = 1_000
SECONDS = 12
BUNCH = 20
SENDER = f"""
import socket, time
sockets = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range({FLOWS})]
due = time.monotonic()
while True:
    for first in range(0, {FLOWS}, {BUNCH}):
        for one in sockets[first : first + {BUNCH}]:
            one.sendto(bytes(100), ("10.9.0.1", 9))
        due += {BUNCH / FLOWS}
        time.sleep(max(0, due - time.monotonic()))
"""
LOADED = """
import confluent_kafka, msgspec, numpy, prometheus_client, pyarrow, http.server
print("loaded", flush=True)
input()
"""


def main() -> int:
    """Measure with the default sizes: 65,536 conversations, a ring of 16 MB."""
    with running_collector("kcmem", KNI_UPLINKS="v0=tc") as collector:
        sender = subprocess.Popen(
            ["ip", "netns", "exec", collector.peer, sys.executable, "-c", SENDER], stdout=subprocess.DEVNULL
        )
        time.sleep(3)  # what grows at the beginning has grown
        begin, records = processor_seconds(collector), records_sent(collector)
        time.sleep(SECONDS)
        share = (processor_seconds(collector) - begin) / SECONDS
        rate = (records_sent(collector) - records) / SECONDS
        maps, own = resident_megabytes(collector.process.pid)
        sender.terminate()
        sender.wait()
    show(
        f"collector at {FLOWS} conversations with a packet a second each",
        [
            Figure(
                name="resident memory of its own",
                value=own,
                unit="MB",
                at_most=80,
                baseline=loaded_megabytes(),
                baseline_name="its libraries, loaded",
            ),
            Figure(name="the kernel's BPF maps that it looks at", value=maps, unit="MB"),
            Figure(name="flow records sent a second", value=rate, unit="1/s"),
            Figure(name="processor", value=share * 100, unit="% of a core", at_most=1),
        ],
    )
    return 0


def processor_seconds(collector: Running) -> float:
    """Spent so far by the threads that there are."""
    tasks = Path(f"/proc/{collector.process.pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


def records_sent(collector: Running) -> float:
    """Flow records that Kafka acknowledged so far."""
    with urlopen(f"http://{collector.address}/metrics") as page:
        found = re.search(r'collector_records_total\{topic="[^"]*flows"\} (\S+)', page.read().decode())
    return float(found[1]) if found else 0


def loaded_megabytes() -> float:
    """Resident memory of a process with the collector's libraries."""
    process = subprocess.Popen([sys.executable, "-c", LOADED], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    if process.stdout is not None:
        process.stdout.readline()
    megabytes = resident_megabytes(process.pid)[1]
    process.communicate(b"\n")
    return megabytes


def resident_megabytes(pid: int) -> tuple[float, float]:
    """Pages of BPF maps, and all others."""
    maps = others = 0
    is_map = False
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        words = line.split()
        if "-" in words[0] and not words[0].endswith(":"):
            is_map = "bpf-map" in line
        elif words[0] == "Rss:":
            maps, others = (maps + int(words[1]), others) if is_map else (maps, others + int(words[1]))
    return maps / 1024, others / 1024


if __name__ == "__main__":
    sys.exit(main())
