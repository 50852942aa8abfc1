"""Versions of Linux to the kernel tests in each: `python -m tests.kernels [VERSION…] [-- ARGUMENT…]`.

Without a version it is all of them; arguments behind -- are pytest's. The verifier's figures come first: how far each
program is from its limit.
"""

import os
import shlex
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from tests.kernels.debian import Kernel, KernelError, kernel_of
from tests.kernels.machine import MachineError, run

ROOT = Path(__file__).parents[2]
KERNELS = ROOT / ".cache" / "kernels"
PROGRAMS = ("apt-get", "busybox", "cpio", "depmod", "qemu-system-x86_64")
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Version(NamedTuple):
    """A version of Linux: the Debian suite that has it, and tests of what it has not, each with its reason."""

    suite: str
    without: dict[str, str]


_OF_TCX = (
    "test_ours_goes_before_foreign_tcx_programs_whenever_they_come",
    "test_native_xdp_stands_before_every_tcx_program",
    "test_when_the_foreign_program_has_gone_ours_stays_where_it_is_and_is_the_only_one",
    "test_where_a_foreign_tcx_program_would_hide_a_filter_ours_stands_before_it",
)
_BENIGN = "tests/kernel/test_drops_benign.py"
VERSIONS = {
    "6.1": Version(
        "bookworm",
        {
            **{f"tests/kernel/test_attach.py::{test}": "TCX came with 6.6" for test in _OF_TCX},
            f"{_BENIGN}::test_what_a_sniffer_did_not_read_is_benign": (
                "before 6.6 a purged queue has no reason, so its drops are not benign"
            ),
            f"{_BENIGN}::test_a_keepalive_is_benign_and_known_by_the_receiving_socket": (
                "the receiving socket came with 6.11; before, TCP's own drops have no namespace, and are counted"
            ),
        },
    ),
    "6.12": Version("trixie", {}),
}


def main(arguments: Sequence[str]) -> int:
    """Run the tests in one machine after the other; status 1 when one fails, 2 when none can run."""
    split = arguments.index("--") if "--" in arguments else len(arguments)
    wanted, for_pytest = arguments[:split] or list(VERSIONS), arguments[split + 1 :]
    if missing := _missing(wanted):
        sys.stderr.write(f"kernels: {missing}\n")
        return 2
    ended = {version: _try(version, for_pytest) for version in wanted}
    for version, verdict in ended.items():
        print(f"Linux {version}: {verdict or 'passed'}")
    return 1 if any(ended.values()) else 0


def _missing(wanted: Sequence[str]) -> str:
    """Say why nothing can be run; empty when everything can."""
    if unknown := set(wanted) - set(VERSIONS):
        return f"{', '.join(sorted(unknown))}: there is only {', '.join(VERSIONS)}"
    if os.uname().machine != "x86_64":
        return "the virtual machines are x86-64, and this machine must be: its Python runs in them"
    missing = [f"the program {name}" for name in PROGRAMS if shutil.which(name) is None]
    if os.geteuid() != 0:
        missing.insert(0, "root")
    return f"needs {', '.join(missing)}: run `make test-kernels`" if missing else ""


def _try(version: str, for_pytest: Sequence[str]) -> str:
    """Say why a version has not passed; empty when it has."""
    suite, without = VERSIONS[version]
    try:
        print(f"Linux {version}: Debian {suite}'s kernel ...", flush=True)
        KERNELS.mkdir(parents=True, exist_ok=True)
        kernel = kernel_of(suite, KERNELS / version)
        print(f"Linux {kernel.release}: a virtual machine, some minutes ...", flush=True)
        for test, reason in without.items():
            print(f"without {test}: {reason}")
        status = run(kernel, _command(kernel, without, for_pytest))
    except (KernelError, MachineError) as error:
        return str(error)
    return f"status {status}, see above" if status else ""


def _command(kernel: Kernel, without: dict[str, str], for_pytest: Sequence[str]) -> str:
    """What the machine does."""
    python = shlex.quote(str(ROOT / ".venv" / "bin" / "python"))
    left_out = [argument for test in without for argument in ("--deselect", test)]
    arguments = ["-o", "cache_dir=/tmp/pytest", "--quiet", *left_out, *(for_pytest or ["tests/kernel"])]
    return "\n".join(
        [
            f"export PATH={PATH} HOME=/root",
            f"mkdir -p /lib/modules && mount --bind {shlex.quote(str(kernel.modules))} /lib/modules",
            "modprobe tun",  # its device file comes with it, where no udev makes one before
            f"cd {shlex.quote(str(ROOT))}",
            f"{python} -m tests.kernels.verified && exec {python} -m pytest {shlex.join(arguments)}",
        ]
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
