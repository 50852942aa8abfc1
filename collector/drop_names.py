"""Codes and addresses of drop records to what people read: reason, call site, benign or not."""

import errno
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from collector import bpf_syscall
from collector.benign_drops import benign_cause, to_symbol
from collector.drop_layout import DropReasons
from collector.drop_rotation import CALL_SITE_BYTES

_FORMAT: Final = b"%pS".ljust(8, b"\0")
"""How the kernel prints an address: symbol+offset/size [module]."""


class NamedDrops(NamedTuple):
    """Names of a batch of records; an index array says which name a record has."""

    reasons: list[str]
    reason_index: npt.NDArray[np.intp]
    call_sites: list[str]
    call_site_index: npt.NDArray[np.intp]
    benign: npt.NDArray[np.uint8]
    """1 or 0 for each record."""


def prepare_call_sites(format_fd: int) -> None:
    """Write the map `call_site_format` and freeze it, between compiling and loading: the verifier wants it constant.

    Call it where `drop_layout.has_snprintf` says so; without, the map does not exist.
    """
    bpf_syscall.map_update(format_fd, bytes(4), _FORMAT)
    bpf_syscall.map_freeze(format_fd)


class DropNames:
    """The running kernel's names. Work in Python grows with a batch's different names, not with its records."""

    def __init__(self, reasons: DropReasons, call_sites_fd: int) -> None:
        self._reasons: Final = reasons
        self._call_sites_fd: Final = call_sites_fd
        self._texts: dict[int, str] = {}

    def resolve(self, records: npt.NDArray[np.void]) -> NamedDrops:
        """Name a batch of struct kni_drop_record."""
        codes, reason_index = np.unique(records["reason"], return_inverse=True)
        locations, call_site_index = np.unique(records["location"], return_inverse=True)
        reasons = [self._reasons.name(code) for code in codes.tolist()]
        call_sites = [self.call_site(location) for location in locations.tolist()]
        pairs, pair_index = np.unique(call_site_index * len(codes) + reason_index, return_inverse=True)
        verdicts = [
            self.is_benign(reasons[pair % len(codes)], call_sites[pair // len(codes)]) for pair in pairs.tolist()
        ]
        benign = np.array(verdicts, np.uint8)[pair_index]
        return NamedDrops(reasons, reason_index, call_sites, call_site_index, benign)

    def call_site(self, location: int) -> str:
        """The kernel's own text of an address; the address itself where the kernel printed none."""
        text = self._texts.get(location)
        if text is None:
            text = self._read_text(location)
            self._texts[location] = text
        return text

    def is_benign(self, reason: str, call_site: str) -> bool:
        """Is a drop ordinary life of a healthy connection?"""
        return benign_cause(reason, to_symbol(call_site), reasons_are_given=self._reasons.are_given) is not None

    def _read_text(self, location: int) -> str:
        try:
            text = bpf_syscall.map_lookup(self._call_sites_fd, location.to_bytes(8, "little"), CALL_SITE_BYTES)
        except OSError as error:
            if error.errno != errno.ENOENT:
                raise
            return f"0x{location:x}"
        return text.partition(b"\0")[0].decode()
