"""C sources to pinned programs and maps: the one file that knows BCC, and a process that ends when it is done.

BCC compiles with 125 MB of memory. So this runs as a child, `python -m collector.loader DIRECTORY`, and the collector
opens what it pinned. The directory appears complete or not at all.
"""

import ctypes
import hashlib
import os
import re
import secrets
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Final

from collector import bpf_syscall
from collector.btf import VMLINUX, Btf, BtfLookupError, BtfUnavailableError
from collector.drop_layout import DropSizes, drop_macros
from collector.pins import remove, ring_pin
from collector.settings import Settings, SettingsError, settings_of_process

if TYPE_CHECKING:
    from bcc import BPF

LAYOUT_VERSION: Final = "1"
"""Of the records in the rings and of the table: a collector can send what a layout of its own version holds."""

SOURCES: Final = Path(str(files("bpf").joinpath("flow_monitor.c"))).parent

_FLOW_PROGRAMS: Final = ("xdp_ingress", "tc_ingress", "tc_egress", "sweep")
_FLOW_MAPS: Final = (
    *("table", "cold", "hook_totals", "exporters", "slots", "crowded_slots"),
    *("interfaces", "jobs", "sweeps"),
)
_DROP_PROGRAMS: Final = ("on_drop", "sweep_drops")
_DROP_MAPS: Final = (
    *("drops_0", "drops_1", "drop_epoch", "drop_totals", "watched_netns"),
    *("call_sites", "drop_jobs", "drop_sweep"),
)
_CALL_SITE_FORMAT: Final = b"%pS\0\0\0\0\0"
_LOOK_SECONDS: Final = 0.1
_SET_DEATH_SIGNAL: Final = 1
"""PR_SET_PDEATHSIG: a loader that outlived its collector would fill a directory that another one is given."""
_WARNINGS: Final = ("-Wno-macro-redefined", "-Wno-address-of-packed-member")


class LoaderError(Exception):
    """Nothing is loaded; the text is for the user."""


def layout_name(settings: Settings) -> str:
    """The layout that these sources and settings give: equal names, equal programs and maps."""
    digest = hashlib.sha256(" ".join(flow_macros(settings)).encode())
    for source in sorted(SOURCES.rglob("*.[ch]")):
        digest.update(source.read_bytes())
    return f"v{LAYOUT_VERSION}-{digest.hexdigest()[:16]}"


def flow_macros(settings: Settings) -> list[str]:
    """Compiler arguments for flow_monitor.c, without the seed, which is new with each loading."""
    conversations = 1 << (settings.conversations - 1).bit_length()
    return [
        f"-DKNI_CONVERSATIONS={conversations}",
        f"-DKNI_RING_BYTES={settings.ring_bytes}",
        f"-DKNI_ACTIVE_TIMEOUT_NS={settings.active_timeout_seconds * 10**9}ull",
    ]


def load(directory: Path, settings: Settings) -> None:
    """Compile, load and pin everything into `directory`, which must not exist. Raises: LoaderError."""
    # libbcc reads it by getenv: where the few files stand that it wants of a kernel's headers.
    os.putenv("BCC_KERNEL_SOURCE", str(SOURCES / "kernel"))
    seed = f"-DKNI_SEED={secrets.randbits(64)}ull"
    flows = _compile(("flow_monitor.c", "flow_hooks.c", "flow_sweep.c"), [*flow_macros(settings), seed])
    macros = _drop_macros()
    drops = _compile(("drop_monitor.c",), macros)
    if "-DKNI_HAVE_SNPRINTF" in macros:
        # The verifier takes a format from a map that can't change any more.
        bpf_syscall.map_update(drops["call_site_format"].map_fd, bytes(4), _CALL_SITE_FORMAT)
        bpf_syscall.map_freeze(drops["call_site_format"].map_fd)
    pins = {
        **_load_programs(flows, dict.fromkeys(_FLOW_PROGRAMS, flows.SCHED_CLS) | {"xdp_ingress": flows.XDP}),
        **_load_programs(drops, {"on_drop": drops.RAW_TRACEPOINT, "sweep_drops": drops.SCHED_CLS}),
        **{name: flows[name].map_fd for name in _FLOW_MAPS},
        **{name: drops[name].map_fd for name in _DROP_MAPS},
        ring_pin("flows_ring", secrets.token_hex(16)): flows["flows_ring"].map_fd,
        ring_pin("drops_ring", secrets.token_hex(16)): drops["drops_ring"].map_fd,
    }
    _pin(directory, pins)


def _compile(names: Sequence[str], macros: list[str]) -> "BPF":
    """Compile sources as one text: BCC rewrites the map calls in that alone, not in what it includes."""
    from bcc import BPF  # noqa: PLC0415 - the layout's name can be had without it

    sources = [SOURCES / name for name in names]
    with _told_by_compiler(f"{sources[0]} does not compile"):
        text = b"\n".join(source.read_bytes() for source in sources)
        return BPF(text=text, cflags=[f"-I{SOURCES}", *macros, *_WARNINGS])


def _load_programs(module: "BPF", kinds: Mapping[str, int]) -> dict[str, int]:
    """Load programs; their descriptors live as long as the module."""
    descriptors = {}
    for name, kind in kinds.items():
        with _told_by_compiler(f"the kernel does not take the program {name}"):
            descriptors[name] = module.load_func(name, kind).fd
    return descriptors


def _drop_macros() -> list[str]:
    try:
        return drop_macros(Btf(VMLINUX.read_bytes()), DropSizes())
    except (OSError, BtfUnavailableError, BtfLookupError) as error:
        raise LoaderError(
            f"{VMLINUX} does not tell what a dropped packet looks like ({error}): "
            "run a kernel built with CONFIG_DEBUG_INFO_BTF=y"
        ) from error


@contextmanager
def _told_by_compiler(what: str) -> Iterator[None]:
    """Turn BCC's failure into one message: it writes the cause to the process's standard error, and raises a plain one.

    Raises: LoaderError.
    """
    kept = os.dup(2)
    with tempfile.TemporaryFile() as told:
        os.dup2(told.fileno(), 2)
        try:
            yield
        except Exception as error:
            told.seek(0)
            raise LoaderError(f"{what}: {_cause(told.read().decode(errors='replace'), error)}") from error
        finally:
            os.dup2(kept, 2)
            os.close(kept)


def _cause(told: str, error: Exception) -> str:
    """The line that says why, among what a compiler or the verifier said."""
    lines = [line.strip() for line in told.splitlines() if line.strip()]
    telling = [line for line in lines if re.search(r"error:|Program +too large|not permitted|denied", line)]
    return f"{(telling or lines[-1:] or ['no reason given'])[0][:300]} ({error})"


def _pin(directory: Path, descriptors: Mapping[str, int]) -> None:
    """Pin all or nothing."""
    try:
        directory.mkdir(mode=0o700)
        for name, descriptor in descriptors.items():
            bpf_syscall.object_pin(descriptor, directory / name)
    except OSError as error:
        if directory.is_dir():
            remove(directory)
        raise LoaderError(
            f"{directory} takes no pins ({error}): set KNI_BPFFS to a BPF file system of yours"
        ) from error


def load_in_child(directory: Path, *, is_stopping: Callable[[], bool]) -> None:
    """Load into `directory` by a process of its own, with this one's settings.

    The child is in a session of its own, so that Ctrl-C reaches this process alone; `is_stopping` ends it early.
    Raises: LoaderError; nothing is left then.
    """
    command = [sys.executable, "-m", "collector.loader", str(directory)]
    with (
        tempfile.TemporaryFile("w+") as told,
        subprocess.Popen(command, stderr=told, start_new_session=True) as child,
    ):
        while (status := _status(child)) is None:
            if is_stopping():
                child.kill()
        if status and directory.is_dir():
            remove(directory)
        if is_stopping():
            raise LoaderError("stopped before anything was attached")
        if status:
            told.seek(0)
            raise LoaderError((told.read().strip().splitlines() or [f"the loader ended with status {status}"])[-1])


def _status(child: "subprocess.Popen[bytes]") -> int | None:
    try:
        return child.wait(_LOOK_SECONDS)
    except subprocess.TimeoutExpired:
        return None


def main() -> int:
    """Load into the directory given; the exit status is 1 and the reason on standard error when that fails."""
    ctypes.CDLL(None).prctl(_SET_DEATH_SIGNAL, signal.SIGKILL)
    try:
        load(Path(sys.argv[1]), settings_of_process())
    except (LoaderError, SettingsError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
