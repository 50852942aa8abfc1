"""TCP from a pod over its veth to bytes a second, without a collector and with one at the veth: what counting costs.

Runs alternate, and the best of each kind is compared: other work on the machine only ever takes away.
"""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.collector_run import Running, run, running_collector
from benchmarks.figures import Figure, show

ROUNDS = 4
SECONDS = 2


def main() -> int:
    """Measure with iperf3, in both directions."""
    best: dict[tuple[str, bool], float] = {}
    with running_collector("kctp", KNI_PODS="v0", KNI_UPLINKS="") as collector, server(collector):
        for _ in range(ROUNDS):
            for direction in ("from the pod", "to the pod"):
                for is_counted in (True, False):
                    set_counting(collector, is_counted=is_counted)
                    rate = measure(collector, direction)
                    best[direction, is_counted] = max(rate, best.get((direction, is_counted), 0))
        set_counting(collector, is_counted=True)
    show(
        "TCP over a pod's veth, with its packets counted",
        [
            Figure(
                name=f"lost {direction}",
                value=100 * (1 - best[direction, True] / best[direction, False]),
                unit="%",
                at_most=3,
            )
            for direction in ("from the pod", "to the pod")
        ]
        + [
            Figure(
                name=direction,
                value=best[direction, True] / 1e9,
                unit="Gbit/s",
                baseline=best[direction, False] / 1e9,
                baseline_name="not counted",
            )
            for direction in ("from the pod", "to the pod")
        ],
    )
    return 0


def set_counting(collector: Running, *, is_counted: bool) -> None:
    """Have the veth counted, or not: it is renamed to what the collector watches, or to what it does not."""
    name = "v0" if is_counted else "w0"
    if name in run(f"ip -n {collector.node} -br link"):
        return
    other = "w0" if is_counted else "v0"
    run(f"ip -n {collector.node} link set {other} name {name}")
    deadline = time.monotonic() + 10
    while ("kubenetinsight" in run(f"ip netns exec {collector.node} tc filter show dev {name} ingress")) != is_counted:
        if time.monotonic() > deadline:
            raise TimeoutError(f"{name} is still{' not' if is_counted else ''} counted")
        time.sleep(0.05)


@contextmanager
def server(collector: Running) -> Iterator[None]:
    """The end of the traffic that is the node."""
    process = subprocess.Popen(["ip", "netns", "exec", collector.node, "iperf3", "--server"], stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 10
        while ":5201" not in run(f"ip netns exec {collector.node} ss -ltn"):
            if time.monotonic() > deadline:
                raise TimeoutError("iperf3 does not listen")
            time.sleep(0.05)
        yield
    finally:
        process.terminate()
        process.wait()


def measure(collector: Running, direction: str) -> float:
    """Bits a second."""
    way = "" if direction == "from the pod" else "--reverse"
    told = run(f"ip netns exec {collector.peer} iperf3 --client 10.9.0.1 --time {SECONDS} --json {way}")
    return float(json.loads(told)["end"]["sum_received"]["bits_per_second"])


if __name__ == "__main__":
    sys.exit(main())
