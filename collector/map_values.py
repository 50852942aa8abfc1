"""Names of maps to what their values are read as: where a pinned map has others, it is of another version."""

from typing import Final

import numpy as np

from collector.drop_rotation import KEY, SUM, TOTALS
from collector.records import BUCKET, COLD, EXPORTER, HOOK_TOTAL, INTERFACE, JOB, SLOT, SWEEP

VALUES: Final[dict[str, np.dtype[np.void]]] = {
    "table": BUCKET,
    "cold": COLD,
    "jobs": JOB,
    "sweeps": SWEEP,
    "hook_totals": HOOK_TOTAL,
    "exporters": EXPORTER,
    "interfaces": INTERFACE,
    "slots": SLOT,
    "drops_0": SUM,
    "drop_totals": TOTALS,
    "drop_jobs": KEY,
}
