"""This machine and this process to what is missing for counting packets, each as a sentence that says what to do."""

import platform
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from collector.btf import VMLINUX

OLDEST: Final = (5, 15)
NEEDED: Final = {"CAP_BPF": 39, "CAP_NET_ADMIN": 12, "CAP_PERFMON": 38}
_SYS_ADMIN: Final = 21
"""Implies CAP_BPF and CAP_PERFMON (capabilities(7)); needed itself to enter another network namespace."""


class PreflightError(Exception):
    """Packets can't be counted here; the text is for the user."""


def check(*, release: str, status: str, has_btf: bool, enters_namespace: bool) -> None:
    """Raises: PreflightError with all that is missing.

    `release` as in `uname -r`, `status` the text of /proc/self/status, `has_btf`: does /sys/kernel/btf/vmlinux exist.
    """
    problems = [
        *_kernel_problems(release, has_btf=has_btf),
        *_capability_problems(status, enters_namespace=enters_namespace),
    ]
    if problems:
        raise PreflightError("; ".join(problems))


def check_this_process(*, enters_namespace: bool) -> None:
    """`check` of the machine and the process that ask. Raises: PreflightError."""
    check(
        release=platform.release(),
        status=Path("/proc/self/status").read_text("ascii"),
        has_btf=VMLINUX.exists(),
        enters_namespace=enters_namespace,
    )


def check_capabilities(status: str, *, enters_namespace: bool) -> None:
    """Raises: PreflightError when this process may not change hooks; `status` as in `check`."""
    problems = list(_capability_problems(status, enters_namespace=enters_namespace))
    if problems:
        raise PreflightError("; ".join(problems))


def _kernel_problems(release: str, *, has_btf: bool) -> Iterable[str]:
    version = re.match(r"(\d+)\.(\d+)", release)
    if version is None or (int(version[1]), int(version[2])) < OLDEST:
        yield f"the kernel is {release}: {OLDEST[0]}.{OLDEST[1]} or newer is needed, run this node on a newer one"
    if not has_btf:
        yield (
            "the kernel does not describe its types (/sys/kernel/btf/vmlinux is missing): "
            "run a kernel built with CONFIG_DEBUG_INFO_BTF=y"
        )


def _capability_problems(status: str, *, enters_namespace: bool) -> Iterable[str]:
    effective = re.search(r"^CapEff:\s*([0-9a-f]+)$", status, re.MULTILINE)
    held = int(effective[1], 16) if effective else 0
    implied = {"CAP_BPF", "CAP_PERFMON"} if held >> _SYS_ADMIN & 1 else set()
    missing = [name for name, bit in NEEDED.items() if not held >> bit & 1 and name not in implied]
    if enters_namespace and not held >> _SYS_ADMIN & 1:
        missing.append("CAP_SYS_ADMIN (KNI_NETNS is set)")
    if missing:
        yield (
            f"this process lacks {', '.join(missing)}: run it as root, or give it the capabilities "
            "(securityContext.capabilities.add in Kubernetes, AmbientCapabilities= in systemd)"
        )
