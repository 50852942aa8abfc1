"""Connections to ClickHouse through a gate, which calls for help before the n-th insert into a table goes on."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

PIECE = 1 << 20


@dataclass
class Gate:
    """Passes everything on, until the insert it waits for: that one never arrives, nor does anything after it."""

    target: tuple[str, int]
    table: str
    number: int
    on_insert: Callable[[], None]
    seen: int = 0
    is_shut: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def serve(self, listener: socket.socket) -> None:
        while True:
            try:
                near, _ = listener.accept()
            except OSError:
                return
            far = socket.create_connection(self.target)
            for source, sink, is_request in ((near, far, True), (far, near, False)):
                threading.Thread(target=self._copy, args=(source, sink, is_request), daemon=True).start()

    def _copy(self, source: socket.socket, sink: socket.socket, is_request: bool) -> None:  # noqa: FBT001  (a thread's argument)
        try:
            while piece := source.recv(PIECE):
                if is_request and self._must_stop(piece):
                    return
                sink.sendall(piece)
        except OSError:
            pass
        finally:
            for end in (source, sink):
                end.close()

    def _must_stop(self, piece: bytes) -> bool:
        if self.is_shut.is_set():
            return True
        head = piece.partition(b"\r\n")[0]
        if b"insert_deduplication_token" not in head or f"%3A{self.table}".encode() not in head:
            return False
        with self.lock:
            self.seen += 1
            if self.seen == self.number:
                self.is_shut.set()
                self.on_insert()
        return self.is_shut.is_set()


@contextmanager
def gate(url: str, table: str, *, number: int, on_insert: Callable[[], None]) -> Iterator[tuple[str, Gate]]:
    """The address of a gate before the ClickHouse at `url`, and the gate."""
    where = urlsplit(url)
    assert where.hostname
    assert where.port
    made = Gate((where.hostname, where.port), table, number, on_insert)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=made.serve, args=(listener,), daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", made
