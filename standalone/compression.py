"""Content encodings to bytes and back: gzip, deflate, zstd and lz4 frames, with a bound on what comes out."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

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


class DecodeError(Exception):
    """A body that is not what its Content-Encoding says, is cut short, or grows past the bound."""


def decode(encoding: str, body: bytes, *, at_most: int) -> bytes:
    """The body without its content encoding.

    Raises:
        DecodeError: an encoding that is not known, bytes that are not in it, or more than `at_most` bytes.
    """
    if encoding in {"", "identity"}:
        return body
    decoder = _decoder(encoding)
    try:
        decoded: bytes = decoder(body, at_most)
    except (zlib.error, zstandard.ZstdError, RuntimeError, EOFError, ValueError) as error:
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


def _decoder(encoding: str) -> Callable[[bytes, int], bytes]:
    decoders: dict[str, Callable[[bytes, int], bytes]] = {
        "gzip": lambda body, limit: _inflate(body, limit, wbits=31),
        "deflate": lambda body, limit: _inflate(body, limit, wbits=15),
        "zstd": _from_zstd,
        "lz4": _from_lz4,
    }
    if encoding not in decoders:
        raise DecodeError(f"Content-Encoding {encoding!r} is not known here: use one of {', '.join(decoders)}")
    return decoders[encoding]


def _inflate(body: bytes, limit: int, *, wbits: int) -> bytes:
    inflater = zlib.decompressobj(wbits)
    decoded = inflater.decompress(body, limit + 1)
    if not inflater.eof and len(decoded) <= limit:
        raise EOFError("it ends too early")
    return decoded


def _from_zstd(body: bytes, limit: int) -> bytes:
    with zstandard.ZstdDecompressor().stream_reader(body, read_across_frames=True) as reader:
        return reader.read(limit + 1)


def _from_lz4(body: bytes, limit: int) -> bytes:
    decompressor = lz4.frame.LZ4FrameDecompressor()
    decoded: bytes = decompressor.decompress(body, max_length=limit + 1)
    if not decompressor.eof and len(decoded) <= limit:
        raise EOFError("it ends too early")
    return decoded
