"""A full ring to acknowledged batches on Kafka: records a second and core, by the collector's own stream and producer.

A program of the benchmark's own fills a ring buffer with records of 2,000 conversations, so that compression meets
what it meets in life. Counted is the processor time of this process, its producer's threads among them; the broker is
another process. Baseline: the same records as one Python object each.
"""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.figures import Figure, show
from collector import bpf_syscall
from collector.batches import to_flow_columns
from collector.latencies import Latencies
from collector.publish import Publisher
from collector.records import FLOW_RECORD
from collector.ring import Ring
from collector.stream import Facts, Stream
from schemas import flow_batch
from schemas.batch import BatchHeader
from schemas.topics import FLOWS
from standalone.servers import embedded_kafka

SOURCES = Path(__file__).parents[1] / "bpf"
RING_BYTES = 16 << 20
RECORDS = RING_BYTES // (8 + FLOW_RECORD.itemsize) - 1
ROUNDS = 12
FRAME = bytes(12) + b"\x88\xb5" + bytes(50)
INTERFACES = {number: f"veth{number:08x}" for number in range(32)}
FILL = """
#include "records.h"
BPF_RINGBUF_OUTPUT(ring, %d);
BPF_ARRAY(count, u64, 1);

int fill(struct __sk_buff *unused)
{
	u32 zero = 0;
	u64 *counter = count.lookup(&zero);
	struct kni_flow_record *record = ring.ringbuf_reserve(sizeof(*record));

	if (!record)
		return 0;
	if (!counter) {
		ring.ringbuf_discard(record, 0);
		return 0;
	}
	u64 n = (*counter)++ * 0x9e3779b97f4a7c15ull >> 32;
	u64 now = bpf_ktime_get_ns();

	__builtin_memset(record, 0, sizeof(*record));
	record->time_start_ns = now - (n & 0xfffffff);
	record->time_end_ns = now;
	record->packets[0] = n & 63;
	record->packets[1] = n & 31;
	record->bytes[0] = (n & 63) * 100;
	record->bytes[1] = (n & 31) * 1400;
	record->src_addr[10] = record->src_addr[11] = record->dst_addr[10] = record->dst_addr[11] = 0xff;
	record->src_addr[12] = record->dst_addr[12] = 10;
	record->src_addr[14] = n & 15;
	record->src_addr[15] = n >> 4 & 127;
	record->dst_addr[15] = n >> 8 & 31;
	record->src_port = 32768 + (n & 2047);
	record->dst_port = 443;
	record->protocol = 6;
	record->ip_version = 4;
	record->ifindex = n & 31;
	record->rtt_count[0] = n & 1;
	record->rtt_sum_ns[0] = (n & 1) * 100000;
	record->rtt_min_ns[0] = record->rtt_max_ns[0] = record->rtt_sum_ns[0];
	record->rtt_samples[0][0] = (n & 1) * (7 << 11 | 781);
	record->interface_kind = 1;
	record->flow_end_reason = 2;
	ring.ringbuf_submit(record, BPF_RB_NO_WAKEUP);
	return 0;
}
"""


class Filler:
    """A ring, and the program that fills it."""

    def __init__(self) -> None:
        os.environ["BCC_KERNEL_SOURCE"] = str(SOURCES / "kernel")
        from bcc import BPF  # noqa: PLC0415 - libbcc reads the environment when it is loaded

        text = (FILL % (RING_BYTES // 4096)).replace('#include "records.h"', (SOURCES / "records.h").read_text())
        self._module = BPF(text=text.encode(), cflags=[f"-I{SOURCES}"])
        self._program = self._module.load_func(b"fill", BPF.SCHED_CLS).fd
        self.descriptor: int = self._module[b"ring"].map_fd

    def fill(self) -> None:
        """Until the ring is full."""
        bpf_syscall.test_run(self._program, FRAME, repeat=RECORDS)


@contextmanager
def timed(seconds: list[float]) -> Iterator[None]:
    """Add the processor time of the block, all threads' together."""
    begin = time.process_time()
    yield
    seconds.append(time.process_time() - begin)


def main() -> int:
    """Measure and print."""
    filler = Filler()
    ring = Ring(filler.descriptor, FLOW_RECORD)
    with embedded_kafka() as kafka:
        publisher = Publisher(kafka, client_id="ring-to-kafka")
        stream = new_stream(ring)
        spent: list[float] = []
        walls: list[float] = []
        for number in range(ROUNDS + 1):
            filler.fill()
            begin = time.perf_counter()
            with timed(spent):
                drain(stream, publisher)
            walls.append(time.perf_counter() - begin)
            if number == 0:  # connects, and meets an empty cache
                spent.clear()
                walls.clear()
    filler.fill()
    objects: list[float] = []
    with timed(objects):
        rows = to_flow_columns(ring.read(20_000, after=stream.delivery.next), INTERFACES, offset_ns=0).to_pylist()
    rate = ROUNDS * RECORDS / sum(spent)
    show(
        "full ring to acknowledged batches on Kafka",
        [
            Figure(
                name="records a second and core",
                value=rate,
                unit="1/s",
                at_least=1e6,
                baseline=len(rows) / sum(objects),
                baseline_name="an object a record, unsent",
            ),
            Figure(name="processor time a record", value=1e6 / rate, unit="µs"),
            Figure(name="records a second, by the clock", value=ROUNDS * RECORDS / sum(walls), unit="1/s"),
        ],
    )
    return 0


def new_stream(ring: Ring) -> Stream:
    """The collector's stream from that ring to the topic of flows."""
    identity = BatchHeader(
        node="bench",
        boot_id="b",
        ring_id=f"bench-{time.time_ns()}",
        first=0,
        counting_since_ns=0,
        exported_until_ns=0,
        created_ns=0,
    )
    return Stream(
        ring,
        flow_batch.CONTRACT,
        topic=FLOWS,
        identity=identity,
        to_columns=lambda records, offset_ns: to_flow_columns(records, INTERFACES, offset_ns=offset_ns),
        learn=Latencies().add,
    )


def drain(stream: Stream, publisher: Publisher) -> None:
    """Hand over what is in the ring, until all of it is acknowledged."""
    offset_ns = time.time_ns() - time.monotonic_ns()
    facts = Facts(now_ns=time.time_ns(), counting_since_ns=0, offset_ns=offset_ns)
    while stream.unacknowledged or stream.delivery.in_flight:
        stream.step(publisher, lambda: facts, now_ns=time.monotonic_ns(), is_swept=True)
        publisher.poll(0.002)
    stream.settle()


if __name__ == "__main__":
    sys.exit(main())
