"""A kernel and a command to the command's status in a virtual machine, whose disk is this machine's, read-only.

Its processor is emulated: ten times as slow, and the same everywhere, whether KVM works or not.
"""

import lzma
import shutil
import subprocess
import tempfile
from pathlib import Path

from tests.kernels.debian import Kernel

INIT = Path(__file__).with_name("init")
MODULES = ("virtio_pci", "9pnet_virtio", "9p", "overlay")
"""What `init` mounts by; the rest the kernel loads from below /lib/modules when it is wanted."""

EXIT_PORT = 0x501
LIMIT_SECONDS = 3600
"""Then it hangs."""


class MachineError(Exception):
    """The machine has not come to the command's end; the text is for the user."""


def run(kernel: Kernel, command: str) -> int:
    """Run a shell's command line as root in a machine of its own; what it says is printed. Raises: MachineError."""
    with tempfile.TemporaryDirectory() as made:
        initrd = _initrd(kernel, command, Path(made))
        try:
            ended = subprocess.run(_qemu(kernel, initrd), stdin=subprocess.DEVNULL, check=False, timeout=LIMIT_SECONDS)
        except subprocess.TimeoutExpired as error:
            raise MachineError(f"Linux {kernel.release} did not end within {LIMIT_SECONDS} s") from error
    # The device's status is twice the byte at the port, and one; ours is the command's status + 1.
    if ended.returncode < 3:
        raise MachineError(f"Linux {kernel.release} did not come to the end: what it said last stands above")
    return (ended.returncode >> 1) - 1


def _qemu(kernel: Kernel, initrd: Path) -> list[str]:
    return [
        *("qemu-system-x86_64", "-nodefaults", "-no-user-config", "-no-reboot", "-display", "none"),
        *("-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m", "3072"),
        *("-serial", "stdio", "-device", f"isa-debug-exit,iobase={EXIT_PORT:#x},iosize=1"),
        *("-virtfs", "local,path=/,mount_tag=host,security_model=none,readonly=on,multidevs=remap"),
        *("-kernel", str(kernel.image), "-initrd", str(initrd)),
        *("-append", "console=ttyS0 loglevel=1 panic=-1 mitigations=off"),
    ]


def _initrd(kernel: Kernel, command: str, made: Path) -> Path:
    """An archive of what is there before the disk is."""
    tree = made / "tree"
    for directory in ("bin", "dev", "host", "memory", "modules", "root"):
        (tree / directory).mkdir(parents=True)
    shutil.copy("/bin/busybox", tree / "bin")
    shutil.copy(INIT, tree)
    (tree / "command").write_text(f"{command}\n", "utf-8")
    order = [_add_module(Path(file), tree / "modules") for file in _needed(kernel)]
    (tree / "modules" / "order").write_text("".join(f"{name}\n" for name in order), "utf-8")
    names = "\n".join(str(path.relative_to(tree)) for path in sorted(tree.rglob("*")))
    archive = subprocess.run(
        ["cpio", "--create", "--format=newc", "--quiet"],
        cwd=tree,
        input=names.encode(),
        capture_output=True,
        check=True,
    )
    initrd = made / "initrd"
    initrd.write_bytes(archive.stdout)
    return initrd


def _needed(kernel: Kernel) -> list[str]:
    """Files of the modules, each behind those that it needs; what is built in has none."""
    asking = (
        "modprobe",
        "--dirname",
        kernel.root,
        "--set-version",
        kernel.release,
        "--show-depends",
        "--all",
        *MODULES,
    )
    told = subprocess.run(asking, capture_output=True, text=True, check=True).stdout
    return list(dict.fromkeys(line.split()[1] for line in told.splitlines() if line.startswith("insmod ")))


def _add_module(file: Path, directory: Path) -> str:
    """Its name in there; busybox's insmod wants it unpacked."""
    content = file.read_bytes()
    name = file.name.removesuffix(".xz")
    (directory / name).write_bytes(lzma.decompress(content) if file.suffix == ".xz" else content)
    return name
