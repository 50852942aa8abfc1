"""A Debian suite to its kernel: from where this machine's packages come, into a directory, once.

The suite has package lists of its own beside the kernel: what this machine's apt knows stays as it is.
"""

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")


class KernelError(Exception):
    """There is no such kernel to be had; the text is for the user."""


@dataclass(frozen=True, slots=True)
class Kernel:
    """A kernel as its package has it, below `root`."""

    root: Path

    @property
    def release(self) -> str:
        """What `uname -r` says in it."""
        return next(self.modules.iterdir()).name

    @property
    def modules(self) -> Path:
        """What stands at /lib/modules in it."""
        return self.root / "lib" / "modules"

    @property
    def image(self) -> Path:
        """What is booted."""
        return self.root / "boot" / f"vmlinuz-{self.release}"


def kernel_of(suite: str, directory: Path) -> Kernel:
    """Fetch a suite's kernel unless `directory` has it; there it is complete or not at all. Raises: KernelError."""
    kernel = Kernel(directory / "root")
    if not directory.is_dir():
        begun = directory.with_suffix(".begun")
        shutil.rmtree(begun, ignore_errors=True)
        _fetch(suite, begun)
        begun.rename(directory)
    return kernel


def _fetch(suite: str, directory: Path) -> None:
    sources, apt = directory / "sources.list", directory / "apt"
    for made in ("lists/partial", "archives/partial"):
        (apt / made).mkdir(parents=True)
    sources.write_text(f"deb [signed-by={KEYRING}] {_mirror()} {suite} main\n", "utf-8")
    settings = (
        *("-o", f"Dir::Etc::sourcelist={sources}", "-o", "Dir::Etc::sourceparts=/dev/null"),
        *("-o", f"Dir::State::lists={apt}/lists", "-o", f"Dir::Cache={apt}", "-o", "Acquire::Languages=none"),
        *("-o", "APT::Sandbox::User=root", "-o", "APT::Update::Error-Mode=any"),
    )
    _run("apt-get", *settings, "--quiet=2", "update", within=directory)
    newest = _run("apt-cache", *settings, "depends", "--important", "linux-image-amd64", within=directory)
    package = newest.split("Depends: ")[1].split()[0]
    _run("apt-get", *settings, "--quiet=2", "download", package, within=directory)
    (archive,) = directory.glob("*.deb")
    root = directory / "root"
    _run("dpkg", "--extract", str(archive), str(root), within=directory)
    if not (root / "lib").exists():
        (root / "lib").symlink_to("usr/lib")  # from trixie on a package has its modules there
    _run("depmod", "--basedir", str(root), Kernel(root).release, within=directory)
    for file in (archive, sources):
        file.unlink()
    shutil.rmtree(apt)


def _mirror() -> str:
    """Where this machine's own suite comes from."""
    own = next(
        line.partition("=")[2].strip('"')
        for line in Path("/etc/os-release").read_text("utf-8").splitlines()
        if line.startswith("VERSION_CODENAME=")
    )
    known = _run("apt-get", "indextargets", "--format", "$(RELEASE) $(COMPONENT) $(REPO_URI)", within=Path("/"))
    for line in known.splitlines():
        release, component, mirror = line.split(maxsplit=2)
        if (release, component) == (own, "main"):
            return mirror
    raise KernelError(f"apt has no source for {own}'s own packages (main): other suites' kernels come from there")


def _run(*command: str, within: Path) -> str:
    done = subprocess.run(
        command, cwd=within, env={**os.environ, "LC_ALL": "C"}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise KernelError(f"{' '.join(command[:1] + command[-2:])}: {done.stderr.strip()[-500:]}")
    return done.stdout
