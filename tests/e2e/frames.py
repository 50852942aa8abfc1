"""Addresses to Ethernet frames by the hundred thousand, and to the wire: one system call for a burst of them."""

import ctypes
import os
import socket
import threading
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from collector.namespace import run_inside
from tests.e2e.node_pair import NOWHERE, Node

Frames = npt.NDArray[np.uint8]
"""One frame a row."""

SYN, RST = 0x02, 0x04
PACE_SECONDS: Final = 0.005
_BURST: Final = 512
_ETH_P_IP: Final = 0x0800
_ETHERNET, _IPV4 = 14, 20
_LIBC: Final = ctypes.CDLL(None, use_errno=True)
_VECTOR: Final = np.dtype([("base", "<u8"), ("length", "<u8")])
_MESSAGE: Final = np.dtype(
    [
        ("name", "<u8"),
        ("name_length", "<u8"),
        ("vector", "<u8"),
        ("vectors", "<u8"),
        ("control", "<u8"),
        ("control_length", "<u8"),
        ("flags", "<u8"),
        ("sent", "<u8"),
    ]
)
"""struct mmsghdr of 64-bit Linux."""


class Sender:
    """A pod's end of its cable to the node."""

    def __init__(self, node: Node) -> None:
        self._socket = run_inside(
            node.pod, lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ETH_P_IP))
        )
        self._socket.bind(("eth0", 0))
        self.ethernet = node.mac(node.netns, "v0") + node.mac(node.pod, "eth0") + _ETH_P_IP.to_bytes(2, "big")

    def send(self, frames: Frames) -> None:
        """Put frames on the cable."""
        vectors = np.zeros(len(frames), _VECTOR)
        vectors["base"] = frames.ctypes.data + np.arange(len(frames), dtype=np.uint64) * frames.strides[0]
        vectors["length"] = frames.shape[1]
        messages = np.zeros(len(frames), _MESSAGE)
        messages["vector"] = vectors.ctypes.data + np.arange(len(frames), dtype=np.uint64) * _VECTOR.itemsize
        messages["vectors"] = 1
        done = 0
        while done < len(frames):
            here = ctypes.c_void_p(messages.ctypes.data + done * _MESSAGE.itemsize)
            sent = _LIBC.sendmmsg(self._socket.fileno(), here, min(_BURST, len(frames) - done), 0)
            if sent < 0:
                code = ctypes.get_errno()
                raise OSError(code, os.strerror(code))
            done += sent

    def close(self) -> None:
        self._socket.close()


class Conversations(NamedTuple):
    """Who sends: last two bytes of addresses in the pod's network, and ports."""

    hosts: npt.NDArray[np.uint16]
    ports: npt.NDArray[np.uint16]

    @classmethod
    def random(cls, count: int, *, seed: int) -> "Conversations":
        random = np.random.default_rng(seed)
        return cls(random.integers(0, 1 << 16, count).astype("u2"), random.integers(1024, 1 << 16, count).astype("u2"))

    @classmethod
    def numbered(cls, first: int, count: int) -> "Conversations":
        """Different ones for different numbers."""
        numbers = np.arange(first, first + count)
        return cls((numbers // 50_000 + 2).astype("u2"), (numbers % 50_000 + 1024).astype("u2"))


def tcp(ethernet: bytes, who: Conversations, *, flags: int) -> Frames:
    """One segment of each conversation to `NOWHERE`, port 80, without payload."""
    frames = _ipv4(ethernet, who, protocol=socket.IPPROTO_TCP, size=20)
    transport = frames[:, _ETHERNET + _IPV4 :]
    _write(transport, 2, [80] * len(frames))
    transport[:, 12:14] = 0x50, flags
    transport[:, 14:16] = 0x20, 0
    return frames


def udp(ethernet: bytes, who: Conversations, *, payload: int) -> Frames:
    """One datagram of each conversation to `NOWHERE`, port 9."""
    frames = _ipv4(ethernet, who, protocol=socket.IPPROTO_UDP, size=8 + payload)
    transport = frames[:, _ETHERNET + _IPV4 :]
    _write(transport, 2, [9] * len(frames))
    _write(transport, 4, [8 + payload] * len(frames))
    return frames


def _ipv4(ethernet: bytes, who: Conversations, *, protocol: int, size: int) -> Frames:
    """Frames whose transport header has its source port only; the kernel checks the checksum of IPv4 alone."""
    frames = np.zeros((len(who.ports), _ETHERNET + _IPV4 + size), np.uint8)
    frames[:, :_ETHERNET] = np.frombuffer(ethernet, np.uint8)
    header = frames[:, _ETHERNET : _ETHERNET + _IPV4]
    header[:, 0] = 0x45
    _write(header, 2, [_IPV4 + size] * len(frames))
    header[:, 8:10] = 64, protocol
    header[:, 12:14] = 10, 80
    _write(header, 14, who.hosts)
    header[:, 16:20] = np.frombuffer(IPv4Address(NOWHERE).packed, np.uint8)
    words = np.ascontiguousarray(header).view(">u2").sum(axis=1, dtype="u4")
    words = (words & 0xFFFF) + (words >> 16)
    _write(header, 10, 0xFFFF - ((words & 0xFFFF) + (words >> 16)))
    _write(frames, _ETHERNET + _IPV4, who.ports)
    return frames


def _write(rows: Frames, place: int, values: npt.ArrayLike) -> None:
    rows[:, place : place + 2] = np.asarray(values).astype(">u2").view(np.uint8).reshape(-1, 2)


@dataclass
class Pour:
    """Traffic in the background, at a steady pace, until it is told to stop or its `with` block ends.

    The same datagrams again and again, and TCP conversations that begin and end: those are what a sweep retires, two
    seconds later.
    """

    sender: Sender
    steady: Frames
    datagrams: int = 0
    connections: int = 0
    failure: BaseException | None = None
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def __enter__(self) -> "Pour":
        self._thread = threading.Thread(target=self._run, name="pour")
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Send no more; `datagrams` is what was sent. Raises what sending raised."""
        self._stop.set()
        assert self._thread is not None
        self._thread.join()
        if self.failure is not None:
            raise self.failure

    def _run(self) -> None:
        try:
            while not self._stop.wait(PACE_SECONDS):
                self.sender.send(self.steady)
                self.datagrams += len(self.steady)
                new = Conversations.numbered(self.connections, 1)
                self.sender.send(np.vstack([tcp(self.sender.ethernet, new, flags=flags) for flags in (SYN, RST)]))
                self.connections += 1
        except BaseException as failure:
            self.failure = failure
            raise
