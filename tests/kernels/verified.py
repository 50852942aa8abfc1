"""The running kernel to what its verifier says: `python -m tests.kernels.verified`, loaded as the collector loads.

One line a program: how many instructions the verifier followed, of the million that it follows at most.
"""

import os
import struct
import sys
import tempfile
from pathlib import Path

from collector import bpf_syscall
from collector.bpffs import mount, unmount
from collector.loader import LoaderError, load
from collector.pins import remove
from collector.settings import read_settings

PROGRAMS = ("xdp_ingress", "tc_ingress", "tc_egress", "sweep", "on_drop", "sweep_drops")
_VERIFIED = 216
"""Offset of verified_insns in struct bpf_prog_info (include/uapi/linux/bpf.h, 5.16)."""


def verified_instructions(pin: Path) -> int:
    """How many instructions the verifier followed before it took a pinned program."""
    descriptor = bpf_syscall.object_get(pin)
    try:
        return int(struct.unpack_from("<I", bpf_syscall.object_info(descriptor), _VERIFIED)[0])
    finally:
        os.close(descriptor)


def main() -> int:
    """Load everything, say the figures, leave nothing; status 1 when the verifier refuses a program."""
    with tempfile.TemporaryDirectory() as made:
        mount(Path(made))
        layout = Path(made) / "layout"
        try:
            load(layout, read_settings({"KNI_NODE": "kernels", "KNI_RING_BYTES": "65536"}))
            for name in PROGRAMS:
                print(f"{name:12} {verified_instructions(layout / name):>9,} instructions verified", flush=True)
        except LoaderError as error:
            sys.stderr.write(f"{error}\n")
            return 1
        finally:
            if layout.is_dir():
                remove(layout)
            unmount(Path(made))
    return 0


if __name__ == "__main__":
    sys.exit(main())
