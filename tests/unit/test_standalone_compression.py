"""Content encodings to bytes and back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from standalone.compression import ENCODERS, DecodeError, choose, decode


@pytest.mark.parametrize("encoding", sorted(ENCODERS))
@given(body=st.binary(max_size=2000))
def test_what_was_encoded_comes_back(encoding: str, body: bytes) -> None:
    assert decode(encoding, ENCODERS[encoding](body), at_most=2000) == body


@pytest.mark.parametrize("encoding", sorted(ENCODERS))
def test_a_small_body_cannot_grow_past_the_bound(encoding: str) -> None:
    bomb = ENCODERS[encoding](b"\0" * 1_000_000)
    with pytest.raises(DecodeError, match="more than 1000 bytes"):
        decode(encoding, bomb, at_most=1000)


@pytest.mark.parametrize("encoding", sorted(ENCODERS))
def test_bytes_in_another_encoding_are_refused(encoding: str) -> None:
    with pytest.raises(DecodeError, match=f"not {encoding}"):
        decode(encoding, b"no such bytes in there", at_most=1000)


@pytest.mark.parametrize("encoding", sorted(ENCODERS))
def test_a_body_that_ends_too_early_is_refused(encoding: str) -> None:
    with pytest.raises(DecodeError, match="ends too early"):
        decode(encoding, ENCODERS[encoding](b"abc" * 100)[:-6], at_most=1000)


@pytest.mark.parametrize("encoding", ["zstd", "lz4", "gzip"])
def test_frames_one_after_another_are_one_body(encoding: str) -> None:
    frames = ENCODERS[encoding](b"one ") + ENCODERS[encoding](b"two")
    assert decode(encoding, frames, at_most=100) == b"one two"


def test_an_encoding_that_is_not_known_is_refused_with_those_that_are() -> None:
    with pytest.raises(DecodeError, match="'br' is not known here: use one of gzip, deflate, zstd, lz4"):
        decode("br", b"", at_most=1)


def test_a_plain_body_stays_what_it_is() -> None:
    body = b"plain"
    assert decode("", body, at_most=10) is body
    assert decode("identity", body, at_most=10) is body


@pytest.mark.parametrize(
    ("accepted", "chosen"),
    [
        ("gzip", "gzip"),
        ("br, gzip;q=0.5, zstd", "gzip"),
        ("gzip;q=0, deflate", "deflate"),
        ("", ""),
        ("br", ""),
        ("*", ""),
    ],
)
def test_the_first_accepted_encoding_that_is_known_is_chosen(accepted: str, chosen: str) -> None:
    assert choose(accepted) == chosen
