"""Identities: what is stored of leases, and what a new worker knows from it."""

import pyarrow as pa

from aggregator.identity.addresses import to_address, to_words
from aggregator.identity.identities import SCHEMA, Identities
from aggregator.identity.leases import FOREVER
from aggregator.identity.objects import Changed, Deleted, Listed, Owner, Pod, Resource
from aggregator.identity.ranges import RangeSettings

SECOND = 10**9
A = to_address("10.244.1.5")


def pod(name: str, created_ns: int) -> Pod:
    return Pod(
        uid=f"uid-{name}",
        namespace="shop",
        name=name,
        node="node-1",
        addresses=(A,),
        created_ns=created_ns,
        started_ns=created_ns,
        is_finished=False,
        ended_by_ns=None,
        owner=Owner("StatefulSet", "set", "uid-set"),
        template_hash="",
        host_ports=(),
    )


def new() -> Identities:
    return Identities(RangeSettings(), is_watching=True)


def test_a_lease_is_stored_with_the_columns_of_its_table() -> None:
    identities = new()
    identities.apply(Changed((pod("a", 5 * SECOND),), 9 * SECOND))
    rows = identities.changed_rows()
    assert rows.schema.equals(SCHEMA)
    row = {name: column[0] for name, column in zip(rows.schema.names, rows.columns, strict=True)}
    assert row.pop("valid_from").cast(pa.int64()).as_py() == 5 * SECOND
    assert row.pop("valid_to").cast(pa.int64()).as_py() == FOREVER
    assert {name: value.as_py() for name, value in row.items()} == {
        "address": A,
        "kind": "pod",
        "namespace": "shop",
        "workload": "set",
        "workload_kind": "StatefulSet",
        "pod": "a",
        "service": "",
        "node": "node-1",
        "zone": "",
        "uid": "uid-a",
        "version": 9 * SECOND,
    }


def test_rows_come_again_until_they_are_confirmed() -> None:
    identities = new()
    identities.apply(Changed((pod("a", 5),), 9))
    assert [identities.changed_rows().num_rows for _ in range(2)] == [1, 1]
    identities.confirm_rows()
    assert identities.changed_rows().num_rows == 0


def test_a_change_between_offer_and_confirmation_is_not_lost() -> None:
    identities = new()
    identities.apply(Changed((pod("a", 5),), 9))
    first = identities.changed_rows()
    identities.apply(Deleted(pod("a", 5), 20))
    identities.confirm_rows()
    second = identities.changed_rows()
    assert second["valid_to"].cast(pa.int64()).to_pylist() == [20]
    assert second["version"][0].as_py() > first["version"][0].as_py()


def test_a_corrected_begin_replaces_the_row_of_before() -> None:
    identities = new()
    identities.apply(Changed((pod("old", 0), pod("new", 50)), 60))
    identities.changed_rows()
    identities.confirm_rows()
    identities.apply(Deleted(pod("old", 0), 80))
    rows = identities.changed_rows()
    changed = zip(rows["uid"].to_pylist(), rows["valid_from"].cast(pa.int64()).to_pylist(), strict=True)
    assert sorted(changed) == [("uid-new", 80), ("uid-old", 0)]


def test_a_new_worker_knows_the_dead_from_what_was_stored() -> None:
    before, after = new(), new()
    before.apply(Changed((pod("dead", 5 * SECOND),), 9 * SECOND))
    # ClickHouse hands out low-cardinality columns as dictionaries.
    stored = pa.table(before.changed_rows())
    place = stored.schema.get_field_index("kind")
    after.load(stored.set_column(place, "kind", stored["kind"].dictionary_encode()))
    after.apply(Changed((pod("alive", 50 * SECOND),), 60 * SECOND))
    after.apply(Listed(Resource.PODS, frozenset({"uid-alive"}), 60 * SECOND))
    leases = after.snapshot().leases
    rows = leases.find(to_words(A * 3), pa.array([20 * SECOND, 49 * SECOND, 50 * SECOND]).to_numpy())
    assert leases.names("pod", rows).to_pylist() == ["dead", "dead", "alive"]


def test_what_is_known_from_the_store_is_not_stored_again() -> None:
    before, after = new(), new()
    before.apply(Changed((pod("a", 5),), 9))
    after.load(pa.table(before.changed_rows()))
    after.apply(Changed((pod("a", 5),), 60))
    assert after.changed_rows().num_rows == 0


def test_pruned_leases_are_gone_and_the_rest_keeps_its_names() -> None:
    identities = new()
    identities.apply(Changed((pod("old", 0),), 1))
    identities.apply(Deleted(pod("old", 0), 10))
    identities.apply(Changed((pod("new", 20),), 30))
    identities.prune(15)
    leases = identities.snapshot().leases
    assert leases.names("pod", leases.find(to_words(A * 2), pa.array([5, 25]).to_numpy())[1:]).to_pylist() == ["new"]
    assert len(leases) == 1
    assert "old" not in leases.values["pod"].to_pylist()
    assert leases.find(to_words(A), pa.array([5]).to_numpy()).tolist() == [-1]
