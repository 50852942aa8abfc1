"""List + watch against an API server that speaks the real protocol: nothing is missed, whatever breaks."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from aggregator.identity.kubernetes_watch import PAGE
from aggregator.identity.objects import Changed, Deleted, Listed, Pod, Resource
from lab.apiserver import ApiServer
from tests.integration.watched_cluster import TOKEN, ForgetfulStore, Gate, listening, pod, write_kubeconfig

if TYPE_CHECKING:
    from pathlib import Path

    from lab.resources import Query
    from lab.store import Json
    from tests.deadline import Eventually


def test_what_is_there_is_told_first_and_then_each_change(
    objects: ForgetfulStore, server: ApiServer, tmp_path: Path, eventually: Eventually
) -> None:
    objects.put(pod("a", "10.244.0.1"))
    with listening(write_kubeconfig(tmp_path / "config", server.address)) as listener:
        eventually(listener.is_ready, within_seconds=10)
        assert listener.pods() == {"a"}
        objects.put(pod("b", "10.244.0.2"))
        objects.put(pod("b", "10.244.0.3"))
        eventually(lambda: listener.pods() == {"a", "b"}, within_seconds=10)
        objects.delete(pod("a", "10.244.0.1"))
        eventually(lambda: listener.pods() == {"b"}, within_seconds=10)
        assert listener.count("lists") == 1
        assert listener.watch.tally.troubles() == {}
    kinds = [type(event) for event in listener.heard if isinstance(event, Deleted)]
    assert kinds == [Deleted]


def test_nobody_is_ready_before_every_resource_was_listed(
    objects: ForgetfulStore, server: ApiServer, tmp_path: Path, eventually: Eventually
) -> None:
    with listening(write_kubeconfig(tmp_path / "config", server.address)) as listener:
        eventually(listener.is_ready, within_seconds=10)
        listed = {event.resource for event in listener.heard if isinstance(event, Listed)}
    assert listed == set(Resource)
    assert objects.snapshot("pods").documents == ()


def test_a_long_list_comes_in_pages_and_counts_as_one(
    objects: ForgetfulStore, server: ApiServer, tmp_path: Path, eventually: Eventually
) -> None:
    names = {f"pod-{number:04d}" for number in range(2 * PAGE + 1)}
    for name in names:
        objects.put(pod(name))
    with listening(write_kubeconfig(tmp_path / "config", server.address)) as listener:
        eventually(listener.is_ready, within_seconds=20)
    pages = [event for event in listener.heard if isinstance(event, Changed) and event.objects]
    assert [len(page.objects) for page in pages] == [PAGE, PAGE, 1]
    assert {each.name for page in pages for each in page.objects if isinstance(each, Pod)} == names
    (listed,) = [event for event in listener.heard if isinstance(event, Listed) and event.resource is Resource.PODS]
    assert len(listed.uids) == 2 * PAGE + 1


class CompactingServer(ApiServer):
    """Forgets its history between the first page of a list and the second, once."""

    has_forgotten = False

    def page(self, query: Query) -> Json:
        if "continue" in query.parameters and not self.has_forgotten:
            self.has_forgotten = True
            self.compact()
        return super().page(query)


def test_a_list_whose_pages_expire_is_asked_for_again_and_whole(
    objects: ForgetfulStore, tmp_path: Path, eventually: Eventually
) -> None:
    for number in range(PAGE + 1):
        objects.put(pod(f"pod-{number:04d}"))
    server = CompactingServer(objects, TOKEN, clock=lambda: 0.0)
    with server.serving(), listening(write_kubeconfig(tmp_path / "config", server.address)) as listener:
        eventually(listener.is_ready, within_seconds=20)
        assert listener.count("status_410") == 1
        assert listener.count("lists") == 1
    assert max(len(event.objects) for event in listener.heard if isinstance(event, Changed)) == PAGE + 1


def test_a_deletion_that_the_server_has_forgotten_is_not_lost(
    objects: ForgetfulStore, server: ApiServer, tmp_path: Path, eventually: Eventually
) -> None:
    for name, ip in (("a", "10.244.0.1"), ("b", "10.244.0.2")):
        objects.put(pod(name, ip))
    with listening(write_kubeconfig(tmp_path / "config", server.address)) as listener:
        eventually(lambda: listener.pods() == {"a", "b"}, within_seconds=10)
        eventually(listener.is_ready, within_seconds=10)
        objects.delete_unheard(pod("a", "10.244.0.1"))
        eventually(lambda: listener.pods() == {"b"}, within_seconds=20)
        assert listener.count("lists") == 2
        assert listener.count("status_410") == 1
    assert not [event for event in listener.heard if isinstance(event, Deleted)]


def test_a_cut_connection_goes_on_where_it_was(
    objects: ForgetfulStore, gate: Gate, tmp_path: Path, eventually: Eventually
) -> None:
    objects.put(pod("a", "10.244.0.1"))
    with listening(write_kubeconfig(tmp_path / "config", gate.address)) as listener:
        eventually(listener.is_ready, within_seconds=10)
        objects.put(pod("b", "10.244.0.2"))
        eventually(lambda: listener.pods() == {"a", "b"}, within_seconds=10)
        gate.is_open = False
        gate.cut()
        eventually(lambda: listener.count("unreachable") > 0, within_seconds=10)
        assert "does not answer" in eventually(listener.watch.tally.troubles, within_seconds=10)["pods"]
        objects.delete(pod("a", "10.244.0.1"))
        gate.is_open = True
        eventually(lambda: listener.pods() == {"b"}, within_seconds=20)
        assert listener.count("lists") == 1
        assert "pods" not in listener.watch.tally.troubles()


def test_a_server_that_is_away_at_the_start_is_waited_for(
    objects: ForgetfulStore, gate: Gate, tmp_path: Path, eventually: Eventually
) -> None:
    objects.put(pod("a", "10.244.0.1"))
    gate.is_open = False
    with listening(write_kubeconfig(tmp_path / "config", gate.address)) as listener:
        troubles = eventually(listener.watch.tally.troubles, within_seconds=10)
        assert gate.address in next(iter(troubles.values()))
        assert not listener.is_ready()
        gate.is_open = True
        eventually(listener.is_ready, within_seconds=20)
        assert listener.pods() == {"a"}


def test_an_object_that_cannot_be_read_is_counted_and_said_and_keeps_its_lease(
    objects: ForgetfulStore, server: ApiServer, tmp_path: Path, eventually: Eventually
) -> None:
    objects.put(pod("a", "10.244.0.1"))
    with listening(write_kubeconfig(tmp_path / "config", server.address)) as listener:
        eventually(listener.is_ready, within_seconds=10)
        objects.put(pod("a", "10.244"))
        eventually(lambda: listener.count("unreadable") == 1, within_seconds=10)
        assert "'10.244'" in listener.watch.tally.troubles()["pods"]
        objects.put(pod("b", "10.244.0.2"))
        objects.delete_unheard(pod("b", "10.244.0.2"))
        eventually(lambda: listener.count("lists") == 2, within_seconds=20)
        assert listener.pods() == {"a"}


def test_stopping_breaks_off_watches_at_once(server: ApiServer, tmp_path: Path, eventually: Eventually) -> None:
    with listening(write_kubeconfig(tmp_path / "config", server.address)) as listener:
        eventually(listener.is_ready, within_seconds=10)
        stopping = threading.Thread(target=listener.watch.stop)
        stopping.start()
        eventually(lambda: not stopping.is_alive(), within_seconds=5)
