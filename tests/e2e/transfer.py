"""Two pods to a TCP transfer or to datagrams between them, and what the sending kernels say of their segments."""

import socket
import struct
import threading
from pathlib import Path
from typing import NamedTuple

from collector.namespace import run_inside
from tests.deadline import eventually

TCP_INFO_BYTES = 256
BYTES_SENT = 200
"""Place of tcpi_bytes_sent in struct tcp_info (linux/tcp.h)."""
UDP_SEGMENT = 103
SO_RCVBUFFORCE = 33
WINDOW = 1 << 17
"""Fewer frames are under way than the 256 that the ring of a veth with XDP takes: none is lost on the cable."""
CHUNK = 1 << 16
TIME_WAIT, LISTEN = "06", "0A"


class SegmentCounts(NamedTuple):
    """What a namespace's TCP sent (RFC 4022): tcpOutSegs leaves retransmissions out."""

    out: int
    retransmitted: int

    @property
    def sent(self) -> int:
        return self.out + self.retransmitted

    def since(self, before: "SegmentCounts") -> "SegmentCounts":
        return SegmentCounts(self.out - before.out, self.retransmitted - before.retransmitted)


class Transferred(NamedTuple):
    """One connection."""

    port: int
    """The server's."""
    payload_sent: int
    """Bytes that the client sent, those that it sent again too."""
    mss: int
    segments: SegmentCounts
    """The client's."""
    acknowledgements: SegmentCounts
    """The server's segments."""


def segment_counts(pod: Path) -> SegmentCounts:
    """IPv4 and IPv6 are one TCP."""
    names, values = (line.split() for line in read_inside(pod, "snmp") if line.startswith("Tcp:"))
    row = dict(zip(names[1:], values[1:], strict=True))
    return SegmentCounts(int(row["OutSegs"]), int(row["RetransSegs"]))


def read_inside(pod: Path, name: str) -> list[str]:
    """Lines of a file below /proc/net, as it is in a namespace."""
    return run_inside(pod, lambda: Path("/proc/thread-self/net", name).read_text("ascii").splitlines())


def has_connections(pod: Path) -> bool:
    """Whether TCP still has to send or to wait for something; what is in TIME-WAIT has ended."""
    rows = [line.split() for name in ("tcp", "tcp6") for line in read_inside(pod, name)[1:]]
    return any(row[3] not in {TIME_WAIT, LISTEN} for row in rows)


def transfer(client: Path, server: Path, *, address: str, size: int) -> Transferred:
    """Send `size` bytes and close; nothing is under way any more."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    before = segment_counts(client), segment_counts(server)
    with run_inside(server, lambda: socket.socket(family, socket.SOCK_STREAM)) as listener:
        listener.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, WINDOW)
        listener.bind((address, 0))
        listener.listen()
        port = int(listener.getsockname()[1])
        receiving = threading.Thread(target=receive_all, args=(listener, size))
        receiving.start()
        with run_inside(client, lambda: socket.create_connection((address, port), timeout=20)) as sender:
            mss = sender.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG)
            sender.sendall(bytes(size))
            sender.shutdown(socket.SHUT_WR)
            assert sender.recv(1) == b"", "the server closes when it has all"
            info = sender.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, TCP_INFO_BYTES)
        receiving.join(20)
    eventually(lambda: not has_connections(client) and not has_connections(server), within_seconds=20)
    (payload_sent,) = struct.unpack_from("<Q", info, BYTES_SENT)
    after = segment_counts(client), segment_counts(server)
    return Transferred(port, payload_sent, mss, after[0].since(before[0]), after[1].since(before[1]))


def receive_all(listener: socket.socket, size: int) -> None:
    """Take one connection to its end."""
    receiver, _ = listener.accept()
    with receiver:
        received = 0
        while piece := receiver.recv(CHUNK):
            received += len(piece)
        assert received == size


def send_datagrams(
    client: Path, server: Path, *, address: tuple[str, int], size: int, segments: int, times: int
) -> None:
    """Datagrams of `size` bytes, `segments` of them in one call, for the kernel to cut (UDP GSO)."""
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    with (
        run_inside(server, lambda: socket.socket(family, socket.SOCK_DGRAM)) as receiver,
        run_inside(client, lambda: socket.socket(family, socket.SOCK_DGRAM)) as sender,
    ):
        receiver.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 1 << 20)
        receiver.settimeout(20)
        receiver.bind(address)
        sender.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, size)
        for _ in range(times):
            sender.sendto(bytes(size * segments), address)
            assert [len(receiver.recv(CHUNK)) for _ in range(segments)] == [size] * segments
