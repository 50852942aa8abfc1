"""Scapy layers to frame bytes: conversations to write tests with."""

from dataclasses import dataclass, field
from ipaddress import ip_address

import numpy as np
import numpy.typing as npt
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether
from scapy.layers.vxlan import VXLAN
from scapy.packet import Packet, Raw, raw

from tests.kernel.flow_kernel import FlowKernel, Hook

CLIENT, SERVER = "10.244.1.7", "10.244.2.9"
CLIENT_V6, SERVER_V6 = "fd00:10:244:1::7", "fd00:10:244:2::9"
MILLISECOND = 1_000_000
CONNECTION_COUNTS = ("connections_opened", "connections_closed", "connections_refused", "connections_no_answer")
MAC = {"src": "02:00:00:00:00:01", "dst": "02:00:00:00:00:02"}


def frame(*layers: Packet) -> bytes:
    """Ethernet and these layers, checksums and lengths filled in."""
    packet = Ether(**MAC)
    for layer in layers:
        packet /= layer
    content: bytes = raw(packet)
    return content


def vxlan(port: int, *inner: Packet, flags: int = 8) -> bytes:
    """IPv4 of the two hosts, UDP, VNI 42, and an Ethernet frame of these layers."""
    inside = Ether(**MAC)
    for layer in inner:
        inside /= layer
    outer = UDP(sport=55_555, dport=port) / VXLAN(vni=42, flags=flags)
    return frame(IP(src=CLIENT, dst=SERVER), outer / Raw(bytes(inside)))


def to_text(address: np.void) -> str:
    """An address of a record as people write it."""
    parsed = ip_address(address.tobytes())
    return str(getattr(parsed, "ipv4_mapped", None) or parsed)


def endpoints(record: np.void) -> tuple[str, int, str, int, int]:
    """Source, port, destination, port, protocol."""
    return (
        *(to_text(record["src_addr"]), int(record["src_port"])),
        *(to_text(record["dst_addr"]), int(record["dst_port"])),
        int(record["protocol"]),
    )


@dataclass
class Connection:
    """One TCP connection between two addresses, segment by segment; each says when it passes, in ms."""

    kernel: FlowKernel
    client: str = CLIENT
    server: str = SERVER
    client_port: int = 41_000
    server_port: int = 8_080
    hooks: tuple[Hook, Hook] = (Hook.TC_IN, Hook.TC_OUT)
    """Which sees the client's segments, which the server's."""
    started_ns: int = field(init=False)

    def __post_init__(self) -> None:
        self.started_ns = self.kernel.now_ns

    def from_client(
        self, at_ms: float, flags: str, *, seq: int, ack: int = 0, data: bytes = b"", segments: int = 1
    ) -> None:
        """The client sends a segment, or a super-packet of some of equal length."""
        tcp = TCP(sport=self.client_port, dport=self.server_port, flags=flags, seq=seq, ack=ack)
        self._send(at_ms, tcp, data, 0, segments=segments)

    def from_server(self, at_ms: float, flags: str, *, seq: int, ack: int = 0, data: bytes = b"") -> None:
        """The server sends a segment."""
        self._send(at_ms, TCP(sport=self.server_port, dport=self.client_port, flags=flags, seq=seq, ack=ack), data, 1)

    def shake_hands(self, at_ms: float = 0) -> None:
        """SYN at 0 ms, SYN/ACK at 20, ACK at 25."""
        self.from_client(at_ms, "S", seq=100)
        self.from_server(at_ms + 20, "SA", seq=900, ack=101)
        self.from_client(at_ms + 25, "A", seq=101, ack=901)

    def finish(self, at_ms: float) -> None:
        """FIN of both sides, and the last ACK."""
        self.from_client(at_ms, "FA", seq=101, ack=901)
        self.from_server(at_ms + 1, "FA", seq=901, ack=102)
        self.from_client(at_ms + 2, "A", seq=102, ack=902)

    def pass_time(self, at_ms: float) -> None:
        """It is so late, since the connection's start."""
        self.kernel.now_ns = self.started_ns + int(at_ms * MILLISECOND)

    def _send(self, at_ms: float, tcp: Packet, data: bytes, side: int, *, segments: int = 1) -> None:
        self.pass_time(at_ms)
        ip_class = IPv6 if ":" in self.client else IP
        src, dst = (self.client, self.server) if side == 0 else (self.server, self.client)
        gso = {"gso_segments": segments, "gso_size": len(data) // segments} if segments > 1 else {}
        self.kernel.send(frame(ip_class(src=src, dst=dst), tcp, Raw(data)), self.hooks[side], **gso)


def total(records: npt.NDArray[np.void], name: str) -> list[int] | int:
    """A counter summed over records, by direction where it has two."""
    summed = records[name].sum(axis=0, dtype=np.uint64)
    return [int(value) for value in summed] if summed.ndim else int(summed)


def counts(records: npt.NDArray[np.void]) -> dict[str, int]:
    """Connections opened, closed, refused, without answer; those that are not 0."""
    sums = {name.removeprefix("connections_"): int(records[name].sum()) for name in CONNECTION_COUNTS}
    return {name: value for name, value in sums.items() if value}


def near(value: np.integer, milliseconds: float) -> bool:
    """Equal but for the 64 ns that times are kept in."""
    return abs(int(value) - milliseconds * MILLISECOND) <= 128
