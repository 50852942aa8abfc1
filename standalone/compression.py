"""Content encodings to bytes and back: gzip, deflate, zstd and lz4 frames, with a bound on what comes out."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Protocol

import lz4.frame  # type: ignore[import-untyped]
import zstandard

if TYPE_CHECKING:
    from collections.abc import Callable

# Speed first: on one machine the wire costs nothing, so only the cheapest levels pay.
ENCODERS: dict[str, Callable[[bytes], bytes]] = {
    "zstd": lambda body: zstandard.ZstdCompressor(level=1).compress(body),
    "lz4": lz4.frame.compress,
    "gzip": lambda body: zlib.compress(body, level=1, wbits=31),
    "deflate": lambda body: zlib.compress(body, level=1, wbits=15),
}
SMALLEST_WORTH_ENCODING = 512
# What is decoded at once may pass the bound by what one piece can grow to: 128 MiB for zstd, less for the others.
PIECE_BYTES = 4096


class Frame(Protocol):
    """One frame of an encoding while it is decoded."""

    @property
    def eof(self) -> bool:
        """Whether the frame has ended."""

    @property
    def unused_data(self) -> bytes:
        """What stood behind the frame's end."""

    def decompress(self, data: bytes, /) -> bytes:
        """What the bytes decode to."""


class _Lz4Frame:
    """lz4's decompressor says None where the others say no bytes."""

    def __init__(self) -> None:
        self._frame = lz4.frame.LZ4FrameDecompressor()

    @property
    def eof(self) -> bool:
        return bool(self._frame.eof)

    @property
    def unused_data(self) -> bytes:
        return self._frame.unused_data or b""

    def decompress(self, data: bytes, /) -> bytes:
        decoded: bytes = self._frame.decompress(data)
        return decoded


FRAMES: dict[str, Callable[[], Frame]] = {
    "gzip": lambda: zlib.decompressobj(31),
    "deflate": lambda: zlib.decompressobj(15),
    "zstd": lambda: zstandard.ZstdDecompressor().decompressobj(),
    "lz4": _Lz4Frame,
}


class DecodeError(Exception):
    """A body that is not what its Content-Encoding says, is cut short, or grows past the bound."""


def decode(encoding: str, body: bytes, *, at_most: int) -> bytes:
    """The body without its content encoding; frames one after another are one body, clickhouse-connect sends many.

    Raises:
        DecodeError: an encoding that is not known, bytes that are not in it, or more than `at_most` bytes.
    """
    if encoding in {"", "identity"}:
        return body
    if encoding not in FRAMES:
        raise DecodeError(f"Content-Encoding {encoding!r} is not known here: use one of {', '.join(FRAMES)}")
    try:
        decoded = _decode(FRAMES[encoding], body, at_most=at_most)
    except (zlib.error, zstandard.ZstdError, RuntimeError) as error:
        raise DecodeError(f"the body is not {encoding}: {error}") from error
    if len(decoded) > at_most:
        raise DecodeError(f"the body has more than {at_most} bytes behind its {encoding}")
    return decoded


def choose(accepted: str) -> str:
    """The first encoding of an Accept-Encoding header that this server has; empty for none."""
    for item in accepted.split(","):
        name, _, weight = item.strip().partition(";")
        if name.strip() in ENCODERS and weight.replace(" ", "") not in {"q=0", "q=0.0"}:
            return name.strip()
    return ""


def _decode(new_frame: Callable[[], Frame], body: bytes, *, at_most: int) -> bytes:
    decoded: list[bytes] = []
    length = 0
    frame = None
    for start in range(0, len(body), PIECE_BYTES):
        piece = body[start : start + PIECE_BYTES]
        while piece and length <= at_most:
            frame = frame or new_frame()
            decoded.append(frame.decompress(piece))
            length += len(decoded[-1])
            piece = frame.unused_data
            frame = None if frame.eof else frame
    if frame is not None and length <= at_most:
        raise DecodeError("the body ends too early")
    return b"".join(decoded)
