"""URLs and objects to the Kubernetes API's answers, without a server."""

from typing import cast

import pytest

from lab.resources import RefusedError, from_token, to_list, to_query, to_token
from lab.store import Document, Snapshot


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("/api/v1/pods", ("Pod", "", "")),
        ("/api/v1/namespaces", ("Namespace", "", "")),
        ("/api/v1/namespaces/shop", ("Namespace", "", "shop")),
        ("/api/v1/namespaces/shop/pods", ("Pod", "shop", "")),
        ("/api/v1/namespaces/shop/pods/web", ("Pod", "shop", "web")),
        ("/api/v1/nodes/node-1", ("Node", "", "node-1")),
        ("/apis/discovery.k8s.io/v1/endpointslices", ("EndpointSlice", "", "")),
        ("/apis/apps/v1/namespaces/shop/replicasets?limit=5", ("ReplicaSet", "shop", "")),
        ("/apis/batch/v1/cronjobs", ("CronJob", "", "")),
    ],
)
def test_a_path_says_which_objects_are_meant(target: str, expected: tuple[str, str, str]) -> None:
    query = to_query(target)

    assert (query.resource.kind, query.namespace, query.name) == expected


@pytest.mark.parametrize(
    ("target", "code"),
    [
        ("/api/v1/secrets", 404),
        ("/apis/batch/v1/pods", 404),
        ("/api/v1", 404),
        ("/", 404),
        ("/api/v1/namespaces/shop/pods/web/log", 404),
        ("/api/v1/pods?labelSelector=app%3Dweb", 400),
        ("/api/v1/pods?fieldSelector=spec.nodeName%3Dnode-1", 400),
    ],
)
def test_what_is_not_served_is_refused_and_never_ignored(target: str, code: int) -> None:
    with pytest.raises(RefusedError) as refusal:
        to_query(target)
    assert refusal.value.code == code


def test_a_number_that_is_none_is_refused() -> None:
    with pytest.raises(RefusedError, match="invalid limit: 'many'"):
        to_query("/api/v1/pods?limit=many").number("limit")


def test_pages_of_a_snapshot_are_all_of_it_and_nothing_twice() -> None:
    documents = tuple(
        Document("pods", {"namespace": namespace, "name": name}) for namespace in ("data", "shop") for name in "abc"
    )
    snapshot = Snapshot(7, documents)
    start, names = ("", ""), []
    while True:
        page = cast("dict[str, dict[str, str]]", to_list(snapshot, to_query("/api/v1/pods?limit=4"), start=start))
        items = cast("list[dict[str, dict[str, str]]]", page["items"])
        names += [(item["metadata"]["namespace"], item["metadata"]["name"]) for item in items]
        if "continue" not in page["metadata"]:
            break
        assert int(page["metadata"]["remainingItemCount"]) == len(documents) - len(names)
        version, start = from_token(page["metadata"]["continue"])
        assert version == 7

    assert names == [document.sort_key for document in documents]


@pytest.mark.parametrize("token", ["x", "", "bm9uc2Vuc2U=", to_token(1, ("a", "b"))[:-6]])
def test_a_continue_that_is_none_of_ours_is_refused(token: str) -> None:
    with pytest.raises(RefusedError, match="continue key is not valid"):
        from_token(token)
