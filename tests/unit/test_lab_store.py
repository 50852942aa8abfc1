"""Writes to changes: the versioned history behind the lab's Kubernetes API."""

import threading

import pytest

from lab.store import HISTORY, Document, Store, TooOldError


def pod(name: str, **content: str) -> Document:
    return Document("pods", {"name": name, "namespace": "shop"}, dict(content))


def test_each_write_is_a_change_with_the_next_version() -> None:
    store = Store()
    start = store.snapshot("pods").version

    store.put(pod("web", phase="Pending"))
    store.put(pod("web", phase="Running"))
    store.delete(pod("web", phase="Running"))

    reached, changes = store.wait(start, 0)
    assert reached == start + 3
    assert [(change.version - start, change.type, change.document.content["phase"]) for change in changes] == [
        (1, "ADDED", "Pending"),
        (2, "MODIFIED", "Running"),
        (3, "DELETED", "Running"),
    ]
    assert changes[2].document.metadata["resourceVersion"] == str(start + 3)


def test_a_snapshot_is_sorted_and_does_not_change_with_the_store() -> None:
    store = Store()
    for name in ("web", "api"):
        store.put(pod(name))
    snapshot = store.snapshot("pods")
    store.put(pod("db"))

    assert [document.name for document in snapshot.documents] == ["api", "web"]
    assert [document.name for document in store.snapshot("pods").documents] == ["api", "db", "web"]
    assert store.snapshot("services").documents == ()


def test_changes_before_a_compaction_are_gone_and_those_after_it_are_not() -> None:
    store = Store()
    store.put(pod("web"))
    before = store.snapshot("pods").version
    store.put(pod("api"))
    store.compact()
    after = store.snapshot("pods").version
    store.put(pod("db"))

    with pytest.raises(TooOldError, match=f"too old resource version: {before}"):
        store.wait(before, 0)
    assert [change.document.name for change in store.wait(after, 0)[1]] == ["db"]


def test_history_is_bounded_and_says_so() -> None:
    store = Store()
    start = store.snapshot("pods").version
    for count in range(HISTORY + 1):
        store.put(pod("web", phase=str(count)))

    with pytest.raises(TooOldError):
        store.wait(start, 0)
    _, changes = store.wait(start + 1, 0)
    assert len(changes) == HISTORY


def test_who_waits_is_woken_by_the_next_change() -> None:
    store = Store()
    start = store.snapshot("pods").version
    seen: list[str] = []
    waiting = threading.Thread(target=lambda: seen.extend(c.document.name for c in store.wait(start, 10)[1]))
    waiting.start()
    store.put(pod("web"))
    waiting.join(10)

    assert seen == ["web"]
