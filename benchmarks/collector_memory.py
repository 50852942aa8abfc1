"""A collector under 1,000 flow records a second to its resident memory and its share of a core.

The kernel counts the pages of BPF maps that a process looks at as that process's memory, though they are the kernel's
own and there with or without it: they are told apart.
"""

import os
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.collector_run import Running, running_collector
from benchmarks.figures import Figure, show

FLOWS = 1_000
SECONDS = 12
SENDER = f"""
import socket, time
sockets = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range({FLOWS})]
for _ in range({SECONDS + 4}):
    for one in sockets:
        one.sendto(bytes(100), ("10.9.0.1", 9))
    time.sleep(1)
"""


def main() -> int:
    """Measure with the default sizes: 65,536 conversations, a ring of 16 MB."""
    with running_collector("kcmem", KNI_UPLINKS="v0=tc") as collector:
        sender = subprocess.Popen(
            ["ip", "netns", "exec", collector.peer, sys.executable, "-c", SENDER], stdout=subprocess.DEVNULL
        )
        time.sleep(3)  # what grows at the beginning has grown
        begin = processor_seconds(collector)
        time.sleep(SECONDS)
        share = (processor_seconds(collector) - begin) / SECONDS
        maps, own = resident_megabytes(collector)
        sender.terminate()
        sender.wait()
    show(
        f"collector at {FLOWS} flow records a second",
        [
            Figure(name="resident memory of its own", value=own, unit="MB", at_most=80),
            Figure(name="the kernel's BPF maps that it looks at", value=maps, unit="MB"),
            Figure(name="processor", value=share * 100, unit="% of a core", at_most=1),
        ],
    )
    return 0


def processor_seconds(collector: Running) -> float:
    """Spent by the process so far."""
    fields = Path(f"/proc/{collector.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_megabytes(collector: Running) -> tuple[float, float]:
    """Pages of BPF maps, and all others."""
    maps = others = 0
    is_map = False
    for line in Path(f"/proc/{collector.process.pid}/smaps").read_text().splitlines():
        words = line.split()
        if "-" in words[0] and not words[0].endswith(":"):
            is_map = "bpf-map" in line
        elif words[0] == "Rss:":
            maps, others = (maps + int(words[1]), others) if is_map else (maps, others + int(words[1]))
    return maps / 1024, others / 1024


if __name__ == "__main__":
    sys.exit(main())
