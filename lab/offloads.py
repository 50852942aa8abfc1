"""An interface's segmentation offload to on or off, by the ioctl that ethtool uses (linux/ethtool.h)."""

from __future__ import annotations

import array
import fcntl
import socket
import struct
from typing import TYPE_CHECKING

from lab import namespaces

if TYPE_CHECKING:
    from pathlib import Path

SIOCETHTOOL = 0x8946
TRANSMIT_CHECKSUM, SCATTER_GATHER, TSO, GSO, GRO = 0x17, 0x19, 0x1F, 0x24, 0x2C
# In this order each switch-off finds nothing left that depends on it; on again in the opposite order.
SWITCHES = (TSO, GSO, GRO, SCATTER_GATHER, TRANSMIT_CHECKSUM)


def set_offloads(namespace: Path, interface: str, *, on: bool) -> None:
    """Switch checksum, segmentation and receive offload of an interface on or off.

    Off, each frame that leaves there is at most an MTU, as on a wire. Raises OSError when the interface is not there.
    """

    def switch() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as endpoint:
            for command in reversed(SWITCHES) if on else SWITCHES:
                _set(endpoint, interface, command=command, value=int(on))

    namespaces.inside(namespace, switch)


def _set(endpoint: socket.socket, interface: str, *, command: int, value: int) -> None:

    value_buffer = array.array("B", struct.pack("II", command, value))
    address, _ = value_buffer.buffer_info()
    request = struct.pack("16sQ16x", interface.encode(), address)
    fcntl.ioctl(endpoint, SIOCETHTOOL, request)
