/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * A parsed packet to its conversation's entry in the table, and from there to flow records in a ring.
 *
 * Only this file and those compiled behind it (flow_hooks.c, flow_sweep.c) know maps: bcc rewrites map calls in the text
 * that it is given and not in what that includes.
 *
 * A packet finds its conversation's place by its digest, in one bucket or its neighbour. Counters leave an entry only
 * when the record's place in the ring is sure, each by an atomic exchange; so a full ring loses nothing, and each packet
 * and byte is in exactly one record. Places are taken back by the sweep, as in RCU: marked, a grace period, emptied.
 */
#include "digest.h"
#include "hook.h"
#include "lookup.h"
#include "sweep.h"
#include "totals.h"

BPF_F_TABLE("array", u32, struct kni_bucket, table, KNI_BUCKETS, BPF_F_MMAPABLE);
BPF_F_TABLE("array", u32, struct kni_cold, cold, KNI_PLACES, BPF_F_MMAPABLE);
BPF_TABLE("array", u32, struct kni_pair, segments, KNI_SEGMENTS / 2);
BPF_RINGBUF_OUTPUT(flows_ring, KNI_RING_BYTES / 4096);
BPF_PERCPU_ARRAY(hook_totals, struct kni_hook_total, KNI_SLOTS * 2);
BPF_PERCPU_ARRAY(exporters, struct kni_exporter, 1);
BPF_PERCPU_ARRAY(desks, struct kni_desk, 1);
BPF_TABLE("array", u32, struct kni_slot, slots, KNI_INLINE_SLOTS);
BPF_TABLE("hash", u32, struct kni_slot, crowded_slots, KNI_SLOTS);
BPF_TABLE("array", u32, struct kni_interface, interfaces, KNI_SLOTS);
BPF_F_TABLE("array", u32, struct kni_job, jobs, KNI_PLACES, BPF_F_MMAPABLE);
BPF_F_TABLE("array", u32, struct kni_sweep, sweeps, 1, BPF_F_MMAPABLE);

static __always_inline struct kni_cold *cold_of(u32 bucket, u64 way)
{
	u32 place = bucket * KNI_WAYS + way;

	return cold.lookup(&place);
}

static __always_inline struct kni_exporter *exporter_of_cpu(void)
{
	u32 zero = 0;

	return exporters.lookup(&zero);
}

/* Returns 0 when the ring is full: then nothing has changed but the span, which the caller puts back. */
static __always_inline u32 export_entry(struct kni_hot *hot, struct kni_cold *entry, struct kni_span span, u64 now,
					u8 reason)
{
	struct kni_flow_record *record = flows_ring.ringbuf_reserve(sizeof(*record));

	if (!record)
		return 0;
	kni_fill_record(record, hot, entry, span, now, reason);
	flows_ring.ringbuf_submit(record, BPF_RB_NO_WAKEUP);
	return 1;
}

/* On the packets' path: exports what is in the entry, and then begins at next_first (0: with the next packet). */
static __always_inline void export_growth(struct kni_hot *hot, struct kni_cold *entry, u32 next_first, u64 now,
					  u8 reason)
{
	struct kni_span span = { .first = hot->first, .last = hot->last };
	struct kni_exporter *exporter = exporter_of_cpu();

	if (!exporter || !span.first || now < exporter->paused_until_ns)
		return;
	if (!kni_win(hot, span, next_first, next_first ? next_first : span.last))
		return;
	if (export_entry(hot, entry, span, now, reason)) {
		exporter->exported++;
		return;
	}
	hot->first = span.first;
	exporter->refused++;
	exporter->paused_until_ns = now + KNI_PAUSE_NS;
}

static __always_inline u32 account_single(const struct kni_packet *packet, const struct kni_frame *frame, u64 now)
{
	struct kni_exporter *exporter = exporter_of_cpu();
	struct kni_flow_record *record = flows_ring.ringbuf_reserve(sizeof(*record));

	if (!record)
		return KNI_LOST;
	kni_fill_single(record, packet, frame, now);
	flows_ring.ringbuf_submit(record, BPF_RB_NO_WAKEUP);
	if (exporter)
		exporter->single++;
	return KNI_ACCOUNTED;
}

/* What hardly ever happens, and is counted. */
static __always_inline void note(u32 is_spilled, u32 is_contended)
{
	struct kni_exporter *exporter = exporter_of_cpu();

	if (!exporter)
		return;
	exporter->spilled += is_spilled;
	exporter->contended += is_contended;
}

static __always_inline struct kni_segment segment_of(u64 digest, u32 side, u32 end)
{
	u64 key = kni_segment_key(digest, side, end);
	u32 index = kni_segment_index(key);
	struct kni_segment segment = { .key = key, .pair = segments.lookup(&index) };

	return segment;
}

/*
 * On the wire a super-packet is many segments, and an ACK may end at each: their ends are timed as its own is, or every
 * n-th of many.
 */
static __always_inline void follow_inside(struct kni_desk *desk, u64 digest)
{
	u32 side = desk->packet.side & 1, number = desk->frame.segments;
	u32 step = (number + KNI_TIMED_ENDS - 1) / KNI_TIMED_ENDS, bytes = step * desk->frame.payload;
	u32 sent_at = desk->seen.sent_at;

#pragma unroll
	for (u32 n = 1; n < KNI_TIMED_ENDS; n++) {
		struct kni_segment inside = segment_of(digest, side, desk->packet.sequence + n * bytes);

		if (n * step >= number || !inside.pair)
			return;
		if (!sent_at)
			kni_forget_segment(inside);
		else if (kni_is_timed(&desk->clock, inside.key))
			kni_remember_segment(inside, sent_at);
	}
}

/* A TCP segment of a conversation that has a place. Returns the events (enum kni_event). */
static __always_inline u32 follow(struct kni_hot *hot, struct kni_cold *entry, struct kni_desk *desk, u64 digest)
{
	const struct kni_packet *packet = &desk->packet;
	u32 side = packet->side & 1;
	struct kni_segments its = {
		.sent = segment_of(digest, side, packet->sequence + kni_sequence_numbers(packet)),
		.acknowledged = segment_of(digest, side ^ 1, packet->ack),
	};

	if (!its.sent.pair || !its.acknowledged.pair)
		return 0; /* never, but the verifier does not know */
	desk->seen.sent_at = desk->seen.retransmitted = 0;
	u32 events = kni_follow(hot, entry, packet, &desk->frame, &desk->clock, its, &desk->seen);

	if (desk->frame.payload && (desk->seen.sent_at || desk->seen.retransmitted))
		follow_inside(desk, digest);
	return events;
}

/* A packet of a conversation that has a place. */
static __always_inline void add(struct kni_hot *hot, struct kni_cold *entry, struct kni_desk *desk, u64 digest, u64 now)
{
	const struct kni_packet *packet = &desk->packet;
	u32 tick = kni_tick(now), events = 0;
	u8 reason = kni_reason_to_export(hot, entry, packet, tick);

	if (reason)
		export_growth(hot, entry, tick, now, reason);
	else if (!hot->first)
		hot->first = tick;
	u32 is_spilled = kni_add(hot, entry, packet, &desk->frame, tick);

	if (packet->is_tcp)
		events = follow(hot, entry, desk, digest);
	if (events & KNI_FINISHED)
		export_growth(hot, entry, 0, now, KNI_END_DETECTED);
	if (is_spilled || events & KNI_CONTENDED)
		note(is_spilled, (events & KNI_CONTENDED) != 0);
}

/* Returns the outcome: KNI_ACCOUNTED or KNI_LOST. */
static __always_inline u32 account(struct kni_desk *desk)
{
	u64 now = kni_now(&desk->frame, &desk->clock), digest = kni_digest(&desk->packet.identity);
	struct kni_place place = { .index = digest >> 40 & (KNI_BUCKETS - 1) };
	u32 beside = place.index ^ 1, is_new = 0;

	place.bucket = table.lookup(&place.index);
	place.other = table.lookup(&beside);
	if (!place.bucket || !place.other)
		return KNI_LOST; /* never, but the verifier does not know */
	if (!kni_find(&place, digest) && !kni_claim(&place, digest, &is_new))
		return account_single(&desk->packet, &desk->frame, now);
	if (place.way - 1 >= KNI_WAYS)
		return KNI_LOST;
	struct kni_hot *hot = &place.bucket->way[place.way - 1];
	struct kni_cold *entry = cold_of(place.index, place.way - 1);

	if (!entry)
		return KNI_LOST;
	if (is_new)
		kni_begin_entry(hot, entry, &desk->packet, &desk->frame);
	add(hot, entry, desk, digest, now);
	return KNI_ACCOUNTED;
}
