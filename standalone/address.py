"""HOST:PORT texts to bound sockets: a port that is taken is told before anything else starts."""

from __future__ import annotations

import socket
from typing import NamedTuple


class UsageError(Exception):
    """What a user can put right: the message says what is wrong, where, and what to do."""


class Address(NamedTuple):
    """A TCP address to listen on or to connect to; port 0 lets the kernel choose."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_address(text: str) -> Address:
    """HOST:PORT or [IPV6]:PORT as an address.

    Raises:
        UsageError: when there is no host, or the port is not a number from 0 to 65535.
    """
    host, colon, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not (colon and host and port.isascii() and port.isdigit() and int(port) <= 65535):
        raise UsageError(f"{text!r} is not an address: write HOST:PORT, for example 127.0.0.1:9092")
    return Address(host, int(port))


def bound_socket(address: Address, option: str) -> socket.socket:
    """A listening TCP socket at the address; `option` is named in the message when that fails.

    Raises:
        UsageError: when the address is taken or is not this machine's.
    """
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(address)
        listener.listen(128)
    except OSError as error:
        listener.close()
        reason = error.strerror or str(error)
        raise UsageError(
            f"cannot listen on {address}: {reason}. End the program that holds it "
            f"(ss -ltnp 'sport = :{address.port}' shows which) or choose another address with {option}"
        ) from error
    return listener


def address_of(listener: socket.socket) -> Address:
    """Where a bound socket really listens."""
    host, port = listener.getsockname()[:2]
    return Address(host, port)
