"""Names to benchmarks: `python -m benchmarks [NAME…]`, each in a process of its own; without a name all of them."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

_NO_BENCHMARK = {"__init__", "__main__", "figures"}


def main(arguments: Sequence[str]) -> int:
    """Run them one after the other; status 1 when one of them could not measure."""
    here = Path(__file__).parent
    known = sorted(
        file.stem for file in here.glob("*.py") if file.stem not in _NO_BENCHMARK and "__main__" in file.read_text()
    )
    if unknown := set(arguments) - set(known):
        sys.stderr.write(f"benchmarks: {', '.join(sorted(unknown))}: there is only {', '.join(known)}\n")
        return 2
    failed = []
    for name in arguments or known:
        print(f"… {name}", flush=True)
        if subprocess.run([sys.executable, "-m", f"benchmarks.{name}"], cwd=here.parent, check=False).returncode:
            failed.append(name)
    if failed:
        sys.stderr.write(f"benchmarks: could not measure {', '.join(failed)}\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
