"""A node's network statistics to its TCP connections lost in full listen queues.

Such a loss never reaches kfree_skb: the final ACK is taken in and the connection forgotten. The kernel counts it, for
IPv4 and IPv6 together, in `TcpExt: ListenOverflows`.
"""

import os
from pathlib import Path
from typing import Final

NETSTAT: Final = Path("/proc/thread-self/net/netstat")
_BYTES: Final = 65_536
_SECTION: Final = b"TcpExt:"
_COUNTER: Final = b"ListenOverflows"


class ListenOverflows:
    """The counter of the network namespace that the constructing thread is in: the open file stays with it."""

    def __init__(self, path: Path = NETSTAT) -> None:
        self._file: Final = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def read(self) -> int:
        """Overflows since the namespace was made; callable from any thread."""
        return parse_listen_overflows(os.pread(self._file, _BYTES, 0))

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)


def parse_listen_overflows(text: bytes) -> int:
    """The counter in a netstat file's text: pairs of lines, names above values. Raises: ValueError without it."""
    lines = [line.split() for line in text.splitlines() if line.startswith(_SECTION)]
    if len(lines) != 2 or _COUNTER not in lines[0]:
        raise ValueError("no TcpExt: ListenOverflows in the kernel's netstat")
    return int(lines[1][lines[0].index(_COUNTER)])
