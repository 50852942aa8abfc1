"""Reporter and authority: the table of cases, each conversation counted once over all places that saw it."""

import numpy as np
import pytest

from aggregator.identity.reporter import (
    REPORTERS,
    Sightings,
    is_authoritative,
    report,
    to_reporter,
)
from tests.unit.sightings import COUNTS, ONCE, STATED_LIMITS, Row

ROWS = [pytest.param(row, id=f"{case} @ {row.place}") for case, rows in (ONCE | STATED_LIMITS).items() for row in rows]


@pytest.mark.parametrize("row", ROWS)
def test_a_sighting_gets_its_reporter_and_its_authority(row: Row) -> None:
    seen = row.sighting()
    assert (to_reporter(seen).name.lower(), is_authoritative(seen)) == (row.reporter, row.authority == COUNTS)


@pytest.mark.parametrize("rows", ONCE.values(), ids=ONCE.keys())
def test_a_conversation_counts_once_over_all_places(rows: list[Row]) -> None:
    assert [is_authoritative(row.sighting()) for row in rows].count(True) == 1


def test_columns_say_what_single_sightings_say() -> None:
    rows = [row for rows in (ONCE | STATED_LIMITS).values() for row in rows]
    columns = Sightings(*(np.array(values, "u1") for values in zip(*(row.sighting() for row in rows), strict=True)))
    reporters, authority = report(columns)
    assert REPORTERS.take(reporters).to_pylist() == [row.reporter for row in rows]
    assert authority.tolist() == [int(row.authority == COUNTS) for row in rows]
