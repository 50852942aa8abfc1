/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Packets at the hooks to flow records in a ring: parse, account, export, retire.
 *
 * Only this file knows maps: bcc rewrites map calls in the file it is given and not in what that includes. All hooks run
 * one body. They never drop, never redirect, never stop another program from seeing the packet.
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

enum { TC_ACT_UNSPEC = -1 }; /* go on with the next filter */

BPF_F_TABLE("array", u32, struct kni_bucket, table, KNI_BUCKETS, BPF_F_MMAPABLE);
BPF_F_TABLE("array", u32, struct kni_cold, cold, KNI_PLACES, BPF_F_MMAPABLE);
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

/* A packet of a conversation that has a place. */
static __always_inline void add(struct kni_hot *hot, struct kni_cold *entry, struct kni_desk *desk, u64 now)
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
		events = kni_follow(hot, entry, packet, &desk->frame, &desk->seen);
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
	add(hot, entry, desk, now);
	return KNI_ACCOUNTED;
}

static __always_inline struct kni_slot slot_of(u32 ifindex)
{
	u32 low = ifindex & (KNI_INLINE_SLOTS - 1);
	struct kni_slot *slot = slots.lookup(&low), none = { .interface_kind = KNI_POD };

	if (slot && slot->ifindex == ifindex)
		return *slot;
	slot = crowded_slots.lookup(&ifindex);
	return slot ? *slot : none;
}

/* NULL: never, but the verifier does not know. */
static __always_inline struct kni_desk *open_desk(u32 ifindex, u32 direction)
{
	u32 zero = 0;
	struct kni_desk *desk = desks.lookup(&zero);

	if (desk)
		kni_clear_desk(desk, slot_of(ifindex), ifindex, direction);
	return desk;
}

/* What every hook does with a frame that was looked at. */
static __always_inline void conclude(struct kni_desk *desk)
{
	u32 index = desk->slot.slot * 2 + desk->frame.direction;
	struct kni_hook_total *total = hook_totals.lookup(&index);
	struct kni_packet *packet = &desk->packet;

	if (!total)
		return;
	if (packet->verdict == KNI_IS_NOT_IP) {
		kni_tally(total, KNI_NON_IP, &desk->frame);
	} else if (packet->verdict != KNI_PARSED) {
		kni_tally(total, KNI_MALFORMED, &desk->frame);
	} else {
		packet->identity.ifindex = desk->frame.ifindex;
		packet->identity.interface_kind = desk->slot.interface_kind;
		kni_order(packet);
		kni_count_sizes(total, packet, &desk->frame);
		if (account(desk) == KNI_ACCOUNTED)
			kni_tally(total, KNI_ACCOUNTED, &desk->frame);
		else
			kni_tally(total, KNI_LOST, &desk->frame);
	}
}

static __always_inline void observe_xdp(struct xdp_md *context)
{
	struct kni_desk *desk = open_desk(context->ingress_ifindex, KNI_INGRESS);

	if (!desk)
		return;
	kni_look_at_frame(context, desk);
	conclude(desk);
}

static __always_inline void observe_tc(struct __sk_buff *context, u32 direction)
{
	struct kni_desk *desk = open_desk(context->ifindex, direction);

	if (!desk)
		return;
	kni_look_at_socket_buffer(context, desk);
	conclude(desk);
}

int xdp_ingress(struct xdp_md *context)
{
	observe_xdp(context);
	return XDP_PASS;
}

int tc_ingress(struct __sk_buff *context)
{
	observe_tc(context, KNI_INGRESS);
	return TC_ACT_UNSPEC;
}

int tc_egress(struct __sk_buff *context)
{
	observe_tc(context, KNI_EGRESS);
	return TC_ACT_UNSPEC;
}
