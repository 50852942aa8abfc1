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
#include "export.h"
#include "frame.h"
#include "tunnel.h"

#ifndef KNI_CONVERSATIONS
#define KNI_CONVERSATIONS 65536 /* expected at once; a power of two; there are places for 3.5 times as many */
#endif
#define KNI_BUCKETS (KNI_CONVERSATIONS / 2)
#define KNI_PLACES  (KNI_BUCKETS * KNI_WAYS)
#ifndef KNI_RING_BYTES
#define KNI_RING_BYTES 16777216
#endif
#ifndef KNI_SLOTS
#define KNI_SLOTS 512 /* interfaces watched at once, and slot 0 */
#endif
#ifndef KNI_ACTIVE_TIMEOUT_NS
#define KNI_ACTIVE_TIMEOUT_NS 1000000000ull
#endif
#define KNI_PAUSE_NS	 5000000ull /* no export is tried so long after the ring was full */
#define KNI_INLINE_SLOTS 65536

enum { TC_ACT_UNSPEC = -1 }; /* go on with the next filter */

_Static_assert((KNI_BUCKETS & (KNI_BUCKETS - 1)) == 0, "a digest's bits choose the bucket");

/* Where a CPU takes its packet apart; hooks run with softirqs off, so it has one at a time. */
struct kni_desk {
	struct kni_packet packet;
	struct kni_packet inner;
	struct kni_observation seen;
};

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

/* A conversation's place, as far as the caller has looked it up. */
struct kni_place {
	struct kni_bucket *bucket;
	u64 way; /* 1 + way; 0: none */
	u32 index; /* of the bucket */
};

static __always_inline struct kni_cold *cold_of(u32 bucket, u64 way)
{
	u32 place = bucket * KNI_WAYS + way;

	return cold.lookup(&place);
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
	u32 zero = 0;
	struct kni_exporter *exporter = exporters.lookup(&zero);

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

static __always_inline void find(struct kni_place *place, u64 digest)
{
	place->index = digest >> 40 & (KNI_BUCKETS - 1);
	place->bucket = table.lookup(&place->index);
	place->way = place->bucket ? kni_match(place->bucket, digest) : 0;
	if (place->way)
		return;
	place->index ^= 1;
	place->bucket = table.lookup(&place->index);
	place->way = place->bucket ? kni_match(place->bucket, digest) : 0;
}

/* Takes a free place in either bucket; returns whether the conversation has one, and *is_new whether it was taken here. */
static __always_inline u32 claim(struct kni_place *place, u64 digest, u32 *is_new)
{
#pragma clang loop unroll(disable)
	for (u32 n = 0; n < 2; n++) {
		place->index ^= 1;
		place->bucket = table.lookup(&place->index);
		place->way = place->bucket ? kni_match(place->bucket, KNI_FREE) : 0;
		if (!place->bucket || place->way - 1 >= KNI_WAYS)
			continue;
		u64 before = __sync_val_compare_and_swap(&place->bucket->tag[place->way - 1], KNI_FREE, digest);

		*is_new = before == KNI_FREE;
		if (*is_new || before == digest)
			return 1;
	}
	return 0;
}

/* Whoever finds the entry before it is ready only counts. */
static __always_inline void begin(struct kni_hot *hot, struct kni_cold *entry, const struct kni_packet *packet,
				  const struct kni_frame *frame)
{
	union kni_state state = {};

	entry->identity = packet->identity;
	entry->identity.direction = (frame->direction ^ packet->side) & 1;
	state.phase = packet->identity.protocol == KNI_TCP ? KNI_MIDSTREAM : KNI_NOT_TCP;
	state.marks = KNI_READY;
	__sync_lock_test_and_set(&hot->state.word, state.word);
}

static __always_inline u32 account_single(const struct kni_packet *packet, const struct kni_frame *frame, u64 now)
{
	u32 zero = 0;
	struct kni_exporter *exporter = exporters.lookup(&zero);
	struct kni_flow_record *record = flows_ring.ringbuf_reserve(sizeof(*record));

	if (!record)
		return KNI_LOST;
	kni_fill_single(record, packet, frame, now);
	flows_ring.ringbuf_submit(record, BPF_RB_NO_WAKEUP);
	if (exporter)
		exporter->single++;
	return KNI_ACCOUNTED;
}

/* Before a packet counts: what was there leaves, if it is old or the packet begins another connection. */
static __always_inline void make_way(struct kni_hot *hot, struct kni_cold *entry, const struct kni_packet *packet,
				     u64 now)
{
	union kni_state state = { .word = hot->state.word };
	u32 first = hot->first, tick = kni_tick(now);
	u32 is_syn = packet->is_tcp && (packet->tcp_flags & (KNI_SYN | KNI_ACK)) == KNI_SYN;

	if (!first)
		hot->first = tick;
	else if (!(state.marks & KNI_READY))
		return;
	else if (is_syn && kni_begins_anew(&state, packet->side, entry->syn_sequence == packet->sequence))
		export_growth(hot, entry, tick, now, KNI_END_DETECTED);
	else if ((s32)(tick - first) > (s32)(KNI_ACTIVE_TIMEOUT_NS >> 16))
		export_growth(hot, entry, tick, now, KNI_END_ACTIVE);
}

/* A TCP segment moves its connection and is timed. */
static __always_inline void follow(struct kni_hot *hot, struct kni_cold *entry, struct kni_desk *desk,
				   const struct kni_frame *frame, u64 now)
{
	union kni_state state = { .word = hot->state.word };
	struct kni_packet *packet = &desk->packet;
	struct kni_observation *seen = &desk->seen;
	u32 side = packet->side & 1;

	if (!(state.marks & KNI_READY))
		return;
	seen->events = 0;
	if (kni_moves(&state, packet->tcp_flags) || packet->tcp_flags & ~(state.word >> (side * 8)))
		kni_move_state(hot, packet, entry->syn_sequence == packet->sequence, seen);
	if (seen->events & KNI_BEGAN_ANEW)
		kni_forget_sequences(hot);
	seen->retransmitted = kni_follow_data(hot, packet, frame);
	seen->rtt_ns = kni_follow_ack(hot, packet, frame);
	if (seen->events || seen->retransmitted || seen->rtt_ns || packet->tcp_flags & KNI_RST)
		kni_note(entry, packet, seen, kni_precise_now(frame));
	if (seen->events & KNI_FINISHED)
		export_growth(hot, entry, 0, now, KNI_END_DETECTED);
}

/* Returns the outcome: KNI_ACCOUNTED or KNI_LOST. */
static __always_inline u32 account(struct kni_desk *desk, const struct kni_frame *frame)
{
	const struct kni_packet *packet = &desk->packet;
	u64 now = kni_now(frame), digest = kni_digest(&packet->identity);
	struct kni_place place;
	u32 is_new = 0, side = packet->side & 1;

	find(&place, digest);
	if (!place.way && !claim(&place, digest, &is_new))
		return account_single(packet, frame, now);
	if (!place.bucket || place.way - 1 >= KNI_WAYS)
		return KNI_LOST; /* the verifier does not know that there is one */
	struct kni_hot *hot = &place.bucket->way[place.way - 1];
	struct kni_cold *entry = cold_of(place.index, place.way - 1);

	if (!entry)
		return KNI_LOST;
	if (is_new)
		begin(hot, entry, packet, frame);
	make_way(hot, entry, packet, now);
	if (kni_count(hot, side, frame))
		kni_spill(hot, entry, side);
	hot->last = kni_tick(now);
	kni_measure_sizes(hot, side, frame);
	if (frame->has_local_socket && !(hot->state.marks & KNI_LOCAL_SOCKET))
		kni_mark(hot, KNI_LOCAL_SOCKET);
	if (packet->is_tcp)
		follow(hot, entry, desk, frame, now);
	return KNI_ACCOUNTED;
}

static __always_inline void tally(struct kni_hook_total *total, u32 outcome, u64 packets, u64 bytes)
{
	total->frames[outcome]++;
	total->packets[outcome] += packets;
	total->bytes[outcome] += bytes;
}

static __always_inline struct kni_slot slot_of(u32 ifindex)
{
	u32 low = ifindex & (KNI_INLINE_SLOTS - 1);
	struct kni_slot *slot = slots.lookup(&low), none = {};

	if (slot && slot->ifindex == ifindex)
		return *slot;
	slot = crowded_slots.lookup(&ifindex);
	return slot ? *slot : none;
}

static __always_inline struct kni_hook_total *total_of(struct kni_slot slot, u32 direction)
{
	u32 index = slot.slot * 2 + direction;

	return hook_totals.lookup(&index);
}

/* What every hook does with a frame that is parsed. */
static __always_inline void conclude(struct kni_hook_total *total, u32 verdict, struct kni_desk *desk,
				     const struct kni_frame *frame)
{
	if (verdict == KNI_IS_NOT_IP) {
		tally(total, KNI_NON_IP, frame->segments, frame->bytes);
	} else if (verdict != KNI_PARSED) {
		tally(total, KNI_MALFORMED, frame->segments, frame->bytes);
	} else {
		kni_order(&desk->packet);
		kni_count_sizes(total, &desk->packet, frame);
		if (account(desk, frame) == KNI_ACCOUNTED)
			tally(total, KNI_ACCOUNTED, frame->segments, frame->bytes);
		else
			tally(total, KNI_LOST, frame->segments, frame->bytes);
	}
}

static __always_inline struct kni_desk *desk_of_cpu(void)
{
	u32 zero = 0;

	return desks.lookup(&zero);
}

static __always_inline void observe_xdp(struct xdp_md *context)
{
	void *start = (void *)(long)context->data, *end = (void *)(long)context->data_end;
	struct kni_frame frame = { .ifindex = context->ingress_ifindex, .direction = KNI_INGRESS, .segments = 1 };
	struct kni_slot slot = slot_of(frame.ifindex);
	struct kni_hook_total *total = total_of(slot, KNI_INGRESS);
	struct kni_desk *desk = desk_of_cpu();

	if (!total || !desk)
		return;
	frame.length = frame.full = frame.rest = frame.bytes = end - start;
	struct kni_cursor cursor = { start, end, 0, frame.length, 1 };
	u32 verdict = kni_parse(&cursor, &desk->packet, &desk->inner, slot.interface_kind == KNI_UPLINK);

	desk->packet.identity.ifindex = frame.ifindex;
	desk->packet.identity.interface_kind = slot.interface_kind;
	conclude(total, verdict, desk, &frame);
}

/*
 * Headers may lie behind the bytes that are at hand: then all that can hold a header is pulled up, and only then, since
 * pulling copies the header of a socket buffer that is a clone, as TCP's are.
 */
static __always_inline u32 parse_socket_buffer(struct __sk_buff *context, struct kni_desk *desk, u32 length,
					       u32 opens_tunnels)
{
	u32 verdict = KNI_IS_SHORT, at_hand = context->len < KNI_HEADER_BYTES ? context->len : KNI_HEADER_BYTES;

#pragma clang loop unroll(disable)
	for (u32 pulled = 0; pulled < 2 && verdict == KNI_IS_SHORT; pulled++) {
		if (pulled && bpf_skb_pull_data(context, at_hand))
			return KNI_IS_MALFORMED;
		void *start = (void *)(long)context->data, *end = (void *)(long)context->data_end;
		struct kni_cursor cursor = { start, end, 0, length, pulled };

		verdict = kni_parse(&cursor, &desk->packet, &desk->inner, opens_tunnels);
	}
	return verdict;
}

static __always_inline void observe_tc(struct __sk_buff *context, u32 direction)
{
	struct kni_frame frame = { .ifindex = context->ifindex, .direction = direction };
	struct kni_slot slot = slot_of(frame.ifindex);
	struct kni_hook_total *total = total_of(slot, direction);
	struct kni_desk *desk = desk_of_cpu();

	if (!total || !desk)
		return;
	u32 tag = context->vlan_present ? sizeof(struct kni_vlan_header) : 0;
	u32 length = kni_length(context);
	u32 verdict = parse_socket_buffer(context, desk, length, slot.interface_kind == KNI_UPLINK);

	kni_measure(&frame, context, length + tag, desk->packet.headers + tag);
	frame.has_local_socket = direction == KNI_EGRESS && context->sk;
	desk->packet.identity.ifindex = frame.ifindex;
	desk->packet.identity.interface_kind = slot.interface_kind;
	conclude(total, verdict, desk, &frame);
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

static __always_inline u32 has_growth(const struct kni_hot *hot, const struct kni_cold *entry)
{
	return hot->count[0] || hot->count[1] || entry->spilled_packets[0] || entry->spilled_packets[1] ||
	       entry->spilled_bytes[0] || entry->spilled_bytes[1] || entry->connections || entry->rtt[0] ||
	       entry->rtt[1] || entry->retransmits || entry->resets || entry->handshake_ns;
}

/* A span that is lost to a packet which came just now leaves with it, or at the next sweep. */
static __always_inline void sweep_export(struct kni_sweep *sweep, struct kni_hot *hot, struct kni_cold *entry,
					 u8 reason)
{
	struct kni_span span = { .first = hot->first, .last = hot->last };
	u32 first = span.first;

	if (!has_growth(hot, entry) || (first && !kni_win(hot, span, 0, span.last))) {
		sweep->untouched++;
		return;
	}
	if (!first)
		span.first = span.last;
	if (reason == KNI_END_IDLE && hot->state.phase == KNI_ENDED)
		reason = KNI_END_DETECTED;
	if (export_entry(hot, entry, span, sweep->now_ns, reason)) {
		sweep->exported++;
		return;
	}
	if (first)
		hot->first = first;
	sweep->refused++;
}

static __always_inline void give_up(struct kni_sweep *sweep, struct kni_hot *hot, struct kni_cold *entry)
{
	union kni_state old = { .word = hot->state.word }, next = old;

	next.phase = KNI_UNANSWERED;
	next.marks |= KNI_PENDING;
	if (old.phase != KNI_SYN_SENT ||
	    __sync_val_compare_and_swap(&hot->state.word, old.word, next.word) != old.word) {
		sweep->untouched++;
		return;
	}
	__sync_fetch_and_add(&entry->connections, kni_connection_counts(KNI_NO_ANSWER));
	sweep->unanswered++;
	sweep_export(sweep, hot, entry, KNI_END_IDLE);
}

/* Only what has nothing left to export, or a full ring would fill a bucket with entries of one conversation. */
static __always_inline void retire(struct kni_sweep *sweep, struct kni_bucket *bucket, u64 way, struct kni_hot *hot,
				   struct kni_cold *entry)
{
	if (has_growth(hot, entry)) {
		sweep_export(sweep, hot, entry, KNI_END_IDLE);
		return;
	}
	__sync_lock_test_and_set(&bucket->tag[way], KNI_GONE);
	sweep->retired++;
}

/* A grace period has passed since no packet can find it: it is this program's alone. */
static __always_inline void harvest(struct kni_sweep *sweep, struct kni_bucket *bucket, u64 way, struct kni_hot *hot,
				    struct kni_cold *entry)
{
	struct kni_span span = { .first = hot->first ? hot->first : hot->last, .last = hot->last };
	u8 reason = hot->state.phase == KNI_ENDED ? KNI_END_DETECTED : KNI_END_IDLE;

	if (has_growth(hot, entry)) {
		if (!export_entry(hot, entry, span, sweep->now_ns, reason)) {
			sweep->refused++;
			return;
		}
		sweep->exported++;
	}
	__builtin_memset(hot, 0, sizeof(*hot));
	__builtin_memset(entry, 0, sizeof(*entry));
	__sync_lock_test_and_set(&bucket->tag[way], KNI_FREE);
	sweep->freed++;
}

/* One job a run: what user space chose by what it saw in the table, done if it still holds. */
static __always_inline void run_job(struct kni_sweep *sweep, const struct kni_job *job)
{
	u32 index = job->place / KNI_WAYS;
	u64 way = job->place % KNI_WAYS;
	struct kni_bucket *bucket = table.lookup(&index);
	struct kni_cold *entry = cold_of(index, way);

	asm volatile("" : "+r"(way)); /* the compiler knows that it is less than 7, the verifier does not */
	if (!bucket || !entry || way >= KNI_WAYS)
		return;
	struct kni_hot *hot = &bucket->way[way];
	u64 tag = bucket->tag[way];

	if (job->command == KNI_HARVEST && tag == KNI_GONE)
		harvest(sweep, bucket, way, hot, entry);
	else if (tag == KNI_FREE || tag == KNI_GONE || !(hot->state.marks & KNI_READY))
		sweep->untouched++;
	else if (job->command == KNI_FLUSH)
		sweep_export(sweep, hot, entry, KNI_END_FORCED);
	else if (hot->last != job->last)
		sweep->untouched++;
	else if (job->command == KNI_RETIRE)
		retire(sweep, bucket, way, hot, entry);
	else if (job->command == KNI_GIVE_UP)
		give_up(sweep, hot, entry);
	else
		sweep_export(sweep, hot, entry, KNI_END_IDLE);
}

int sweep(struct __sk_buff *context)
{
	u32 zero = 0;
	struct kni_sweep *state = sweeps.lookup(&zero);

	if (!state)
		return 0;
	u32 next = state->next++;
	struct kni_job *job = jobs.lookup(&next);

	if (job)
		run_job(state, job);
	return 0;
}
