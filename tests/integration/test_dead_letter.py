"""Messages that are no batches to the dead-letter topic, each with its reason; the stream goes on."""

import time
from typing import cast

from confluent_kafka import Message

from schemas import drop_batch, flow_batch, topics
from tests.deadline import Eventually
from tests.flow_records import NODES, SECOND, drop_records, flow_records, header
from tests.integration.aggregator_world import World, read_all, send

DAY = 24 * 3600 * SECOND


def headers_of(letter: Message) -> list[tuple[str, bytes]]:
    """Its headers; the library's types leave open what they hold."""
    return [(str(name), value) for name, value in cast("list[tuple[str, bytes]]", letter.headers())]


def unreadable(now_ns: int) -> dict[str, bytes]:
    """What stands for each kind of unreadable message, by a name of its own."""
    whole = flow_batch.write_batch(flow_records(50, seed=1, end_ns=now_ns), header(0, at_ns=now_ns))
    head = header(0, at_ns=now_ns, ring_id="other")
    return {
        "garbage": b"\x00\xffnot a batch",
        "empty": b"",
        "truncated": whole[: len(whole) // 2],
        "another topic's": drop_batch.write_batch(drop_records(5, seed=1, end_ns=now_ns), head),
        "two days old": flow_batch.write_batch(flow_records(5, seed=1, end_ns=now_ns - 2 * DAY), head),
        "of tomorrow": flow_batch.write_batch(flow_records(5, seed=1, end_ns=now_ns + DAY), head),
        "totals are none": flow_batch.write_batch(
            flow_records(5, seed=1, end_ns=now_ns), header(0, at_ns=now_ns, ring_id="other", totals=b"nothing")
        ),
        "header of another year": flow_batch.write_batch(
            flow_records(5, seed=1, end_ns=now_ns), header(0, at_ns=now_ns + 400 * DAY, ring_id="other")
        ),
        "larger than any batch": whole + bytes(5 << 20),
    }


REASONS = {
    "garbage": "not_arrow",
    "empty": "not_arrow",
    "truncated": "not_arrow",
    "another topic's": "wrong_schema",
    "two days old": "impossible_time",
    "of tomorrow": "impossible_time",
    "totals are none": "wrong_header",
    "header of another year": "impossible_time",
    "larger than any batch": "too_large",
}


def test_what_cannot_be_read_is_set_aside_and_counted_and_the_stream_goes_on(
    world: World, eventually: Eventually
) -> None:
    now_ns = time.time_ns()
    bad = unreadable(now_ns)
    good = [
        flow_batch.write_batch(flow_records(50, seed=n, end_ns=now_ns), header(n * 50, at_ns=now_ns)) for n in (0, 1)
    ]
    send(world.bootstrap, topics.FLOWS, [(NODES[0], value) for value in (good[0], *bad.values(), good[1])])
    worker = world.start_worker()
    world.wait_stored(len(bad) + 2)
    assert world.count("SELECT count() FROM flows") == 100
    assert world.count("SELECT sum(unreadable) FROM ingest_log") == len(bad)
    letters = read_all(world.bootstrap, topics.DEAD_LETTER)
    found = {}
    for letter in letters:
        headers = {name: value.decode() for name, value in headers_of(letter)}
        found[int(headers["offset"])] = (headers["reason"], headers["topic"], int(headers["length"]))
        assert (letter.value() or b"") == list(bad.values())[int(headers["offset"]) - 1][:1_000_000]
    expected = [(REASONS[name], topics.FLOWS, len(value)) for name, value in bad.items()]
    assert [found[offset] for offset in sorted(found)] == expected
    assert worker.metric("kubenetinsight_aggregator_dead_letters_total") == len(bad)
    eventually(lambda: worker.answer("/healthz") == "ok\n", within_seconds=20)
    assert worker.stop() == 0
