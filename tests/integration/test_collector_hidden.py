"""Somebody else's program that comes before ours while we count to counting that begins anew, and says so."""

import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from collector import bpf_syscall
from collector.links import program_id
from collector.namespace import run_inside
from tests.deadline import Eventually
from tests.integration.collector_ledger import packets_by_hook, totals_by_hook, udp_packets
from tests.integration.collector_world import Collector, Reader, attached
from tests.integration.datagrams import sending
from tests.integration.foreign_program import foreign_program
from tests.kernel.collector_veths import Veths

NewCollector = Callable[..., Collector]
NewReader = Callable[[Collector], Reader]
TCX_INGRESS = 46
SENT = 1000


def test_what_a_later_tcx_program_would_keep_from_us_is_counted_and_that_counting_began_anew_is_told(
    node: Veths,
    new_collector: NewCollector,
    new_reader: NewReader,
    *,
    embedded: str,
    tmp_path: Path,
    eventually: Eventually,
) -> None:
    collector = new_collector(embedded, KNI_UPLINKS="v0=tc", KNI_PODS="")
    collector.start()
    with foreign_program(tmp_path / "foreign", "tc-ok") as pin:
        ifindex, program = node.ifindex("v0"), bpf_syscall.object_get(pin)
        came_ns = time.time_ns()
        link = run_inside(node.path, partial(bpf_syscall.link_create, program, ifindex, attach_type=TCX_INGRESS))
        eventually(lambda: collector.status()["uncovered"] == 1, within_seconds=20)
        status = collector.status()
        assert status["counting_since_ns"] > came_ns
        hooks = {row["direction"]: (row["hook"], row["attached_since_ns"] > came_ns) for row in status["interfaces"]}
        assert hooks == {"ingress": ("tcx", True), "egress": ("tc", True)}
        with sending(node, "10.9.0.1", count=SENT, flows=10, rate=0):
            pass
        assert "kubenetinsight_collector_uncovered_total 1.0" in collector.get("/metrics")[1].splitlines()
        collector.stop()
        left = run_inside(node.path, lambda: bpf_syscall.program_query(ifindex, TCX_INGRESS))
        assert [found for found, _ in left] == [program_id(program)]
        os.close(link)
        os.close(program)
    assert attached(node, "v0") == ""
    assert '"was_hidden"' in (collector.logs / "collector.log").read_text()
    (batches,) = new_reader(collector).read().flows.values()
    assert udp_packets(batches) == SENT
    assert packets_by_hook(batches) == totals_by_hook(batches)
    assert batches[0].header.counting_since_ns < came_ns < batches[-1].header.counting_since_ns
