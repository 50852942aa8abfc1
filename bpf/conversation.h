/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * How one packet changes one conversation's entry: counters, state, latencies. Pure: whoever calls it finds the entry.
 */
#ifndef KNI_CONVERSATION_H
#define KNI_CONVERSATION_H

#include "connection.h"
#include "limits.h"
#include "round_trips.h"

#define KNI_PACKETS_SHIFT 40
#define KNI_BYTES_MASK	  ((1ull << KNI_PACKETS_SHIFT) - 1)
/* Either half of the word is half full: far enough from the brim for every CPU's next packet. */
#define KNI_HALF_FULL (1ull << 63 | 1ull << (KNI_PACKETS_SHIFT - 1))
/*
 * A lost race is tried again; a segment that loses so often in a row is not followed, and counted as contended. The
 * loops are unrolled: Linux 6.1 refuses one that is entered from the instruction before it ("back-edge").
 */
#define KNI_TRIES 4

static __always_inline u64 kni_take_all(u64 *counter)
{
	return *counter ? __sync_lock_test_and_set(counter, 0) : 0;
}

/* Returns whether the word is to be spilled. */
static __always_inline u32 kni_count(struct kni_hot *hot, u32 side, const struct kni_frame *frame)
{
	u64 packed = (u64)frame->segments << KNI_PACKETS_SHIFT | frame->bytes;

	return (__sync_fetch_and_add(&hot->count[side], packed) & KNI_HALF_FULL) != 0;
}

static __always_inline void kni_measure_sizes(struct kni_hot *hot, u32 side, const struct kni_frame *frame)
{
	u32 longest = frame->full < 65535 ? frame->full : 65535;
	u32 shortest = 65535 - (frame->rest < 65535 ? frame->rest : 65535);

	if (longest > hot->longest[side])
		hot->longest[side] = longest;
	if (shortest > hot->shortest[side])
		hot->shortest[side] = shortest;
}

static __always_inline void kni_mark(struct kni_hot *hot, u8 mark)
{
#pragma unroll
	for (u32 tries = 0; tries < KNI_TRIES; tries++) {
		union kni_state old = { .word = hot->state.word }, next = old;

		next.marks |= mark;
		if (__sync_val_compare_and_swap(&hot->state.word, old.word, next.word) == old.word)
			return;
	}
}

static __always_inline void kni_spill(struct kni_hot *hot, struct kni_cold *cold, u32 side)
{
	u64 count = __sync_lock_test_and_set(&hot->count[side], 0);

	__sync_fetch_and_add(&cold->spilled_packets[side], count >> KNI_PACKETS_SHIFT);
	__sync_fetch_and_add(&cold->spilled_bytes[side], count & KNI_BYTES_MASK);
	kni_mark(hot, KNI_PENDING);
}

/* Moves flags and state of the connection as one word; the events seen are this CPU's alone. */
static __always_inline void kni_move_state(struct kni_hot *hot, const struct kni_packet *packet, u32 is_repeated,
					   struct kni_observation *seen)
{
	u32 side = packet->side & 1;

#pragma unroll
	for (u32 tries = 0; tries < KNI_TRIES; tries++) {
		union kni_state old = { .word = hot->state.word }, next = old;

		seen->events = kni_step(&next, side, packet->tcp_flags, is_repeated);
		next.word |= (u64)packet->tcp_flags << (side * 8);
		if (__sync_val_compare_and_swap(&hot->state.word, old.word, next.word) == old.word)
			return;
	}
	seen->events = KNI_CONTENDED;
}

/* Forgets the sequence numbers of the connection before. */
static __always_inline void kni_forget_sequences(struct kni_hot *hot)
{
	hot->acknowledged[0] = hot->acknowledged[1] = 0;
	hot->highest[0] = hot->highest[1] = 0;
	hot->gap_begin = hot->gap_end = 0;
}

static __always_inline void kni_note_handshake(struct kni_cold *cold, const struct kni_packet *packet, u32 events,
					       u64 now)
{
	u32 at = kni_in_64_ns(now) | 1, before = cold->shaken_at;
	u64 ns = kni_at_most_u32(kni_elapsed_ns(before, at));

	if (events & KNI_SYN_CAME) {
		cold->syn_sequence = packet->sequence;
		cold->round_trip = 0;
	}
	if (events & (KNI_SYN_CAME | KNI_SYN_ACK_CAME))
		cold->shaken_at = at;
	if (!before || !ns)
		return;
	if (events & KNI_ANSWERED) {
		__sync_fetch_and_add(&cold->handshake_ns, ns);
		cold->round_trip = kni_to_float16(ns);
	}
	if (events & KNI_ACKNOWLEDGED) {
		__sync_fetch_and_add(&cold->handshake_ns, ns << 32);
		if (cold->round_trip)
			cold->round_trip = kni_to_float16(kni_at_most_u32(kni_from_float16(cold->round_trip) + ns));
	}
}

/* Order of the halves as in kni_cold.connections. */
static __always_inline u64 kni_connection_counts(u32 events)
{
	return (u64)(events & KNI_OPENED) | (u64)(events >> 1 & 1) << 16 | (u64)(events >> 2 & 1) << 32 |
	       (u64)(events >> 3 & 1) << 48;
}

static __always_inline void kni_note(struct kni_cold *cold, const struct kni_packet *packet,
				     const struct kni_observation *seen, const struct kni_frame *frame)
{
	u32 side = packet->side & 1;
	u64 counts = kni_connection_counts(seen->events);

	if (seen->rtt_ns)
		kni_note_rtt(cold, side ^ 1, seen->rtt_ns);
	if (seen->retransmitted)
		__sync_fetch_and_add(&cold->retransmits, (u64)seen->retransmitted << (side * 32));
	if (packet->tcp_flags & KNI_RST)
		__sync_fetch_and_add(&cold->resets, 1ull << (side * 32));
	if (counts)
		__sync_fetch_and_add(&cold->connections, counts);
	if (seen->events & KNI_HANDSHAKE)
		kni_note_handshake(cold, packet, seen->events, kni_precise_now(frame));
}

/* Whoever finds the entry before it is ready only counts. */
static __always_inline void kni_begin_entry(struct kni_hot *hot, struct kni_cold *cold, const struct kni_packet *packet,
					    const struct kni_frame *frame)
{
	union kni_state state = {};

	cold->identity = packet->identity;
	cold->identity.direction = (frame->direction ^ packet->side) & 1;
	if (!packet->is_tunnelled)
		__builtin_memset(cold->identity.outer, 0, sizeof(cold->identity.outer));
	state.phase = packet->identity.protocol == KNI_TCP ? KNI_MIDSTREAM : KNI_NOT_TCP;
	state.marks = KNI_READY;
	__sync_lock_test_and_set(&hot->state.word, state.word);
}

/*
 * Before a packet counts: why what is in the entry has to leave first (enum kni_flow_end_reason), 0 if it has not to. A
 * connection's record ends before the SYN of the next.
 */
static __always_inline u8 kni_reason_to_export(const struct kni_hot *hot, const struct kni_cold *cold,
					       const struct kni_packet *packet, u32 tick)
{
	union kni_state state = { .word = hot->state.word };
	u32 is_syn = packet->is_tcp && (packet->tcp_flags & (KNI_SYN | KNI_ACK)) == KNI_SYN;

	if (!hot->first || !(state.marks & KNI_READY))
		return 0;
	if (is_syn && kni_begins_anew(&state, packet->side, cold->syn_sequence == packet->sequence))
		return KNI_END_DETECTED;
	return (s32)(tick - hot->first) > (s32)(KNI_ACTIVE_TIMEOUT_NS >> 16) ? KNI_END_ACTIVE : 0;
}

/* Returns whether counters were spilled. */
static __always_inline u32 kni_add(struct kni_hot *hot, struct kni_cold *cold, const struct kni_packet *packet,
				   const struct kni_frame *frame, u32 tick)
{
	u32 side = packet->side & 1;
	u32 is_half_full = kni_count(hot, side, frame);

	if (is_half_full)
		kni_spill(hot, cold, side);
	hot->last = tick;
	kni_measure_sizes(hot, side, frame);
	if (frame->has_local_socket && !(hot->state.marks & KNI_LOCAL_SOCKET))
		kni_mark(hot, KNI_LOCAL_SOCKET);
	return is_half_full;
}

/* A TCP segment moves its connection and is timed. Returns the events (enum kni_event). */
static __always_inline u32 kni_follow(struct kni_hot *hot, struct kni_cold *cold, const struct kni_packet *packet,
				      const struct kni_frame *frame, struct kni_clock *clock,
				      struct kni_segments segments, struct kni_observation *seen)
{
	union kni_state state = { .word = hot->state.word };
	u8 is_new_flag = packet->tcp_flags & ~(state.word >> (packet->side & 1) * 8);

	if (!(state.marks & KNI_READY))
		return 0;
	seen->events = 0;
	if (is_new_flag || kni_moves(&state, packet->tcp_flags))
		kni_move_state(hot, packet, cold->syn_sequence == packet->sequence, seen);
	if (seen->events & KNI_BEGAN_ANEW)
		kni_forget_sequences(hot);
	kni_follow_data(hot, cold, packet, frame, clock, segments.sent, seen);
	seen->rtt_ns = kni_follow_ack(hot, packet, frame, clock, segments.acknowledged);
	if (seen->events || seen->retransmitted || seen->rtt_ns || packet->tcp_flags & KNI_RST)
		kni_note(cold, packet, seen, frame);
	return seen->events;
}

#endif
