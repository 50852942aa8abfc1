"""The pods that flow records speak of, to what an aggregator knows about them."""

import pyarrow as pa

from aggregator.identity.identities import SCHEMA, Identities
from aggregator.identity.ranges import RangeSettings
from aggregator.identity.snapshot import Snapshot
from tests.flow_records import PODS, SECOND, mapped

FOREVER_NS = 4_102_444_800 * SECOND


def known_pods(addresses: tuple[str, ...] = PODS) -> Snapshot:
    """Every address is a pod's, since ever: seven workloads in three namespaces."""
    rows = [
        {
            "address": address.tobytes(),
            "valid_from": 0,
            "valid_to": FOREVER_NS,
            "kind": "pod",
            "namespace": f"team-{n % 3}",
            "workload": f"app-{n % 7}",
            "workload_kind": "Deployment",
            "pod": f"app-{n % 7}-{n}",
            "service": f"app-{n % 7}",
            "node": f"node-{n % 6 + 1}",
            "zone": "zone-a",
            "uid": f"uid-{n}",
            "version": 1,
        }
        for n, address in enumerate(mapped(addresses))
    ]
    identities = Identities(RangeSettings.parse(pod_cidrs="10.244.0.0/16"), is_watching=False)
    identities.load(pa.Table.from_pylist(rows, schema=SCHEMA))
    return identities.snapshot()
