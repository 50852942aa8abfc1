/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * TCP sequence numbers to round trips and retransmissions. Pure.
 *
 * A segment under way is remembered by its conversation, its side and the end of its sequence numbers. The first ACK of
 * exactly that number is one sample, as in tshark's tcp.analysis.ack_rtt; SYN and FIN are segments, too. A segment that
 * ends at or below the highest sequence number seen, and was not overtaken, is a retransmission, a super-packet with all
 * its segments: it is not timed, nor is what it repeats (Karn and Partridge, 1987).
 *
 * All conversations share one array of segments under way, in pairs of places: who comes later to a pair takes the older
 * one's place, which has no sample then. A busy CPU neither remembers nor looks for all of them; which ones, a hash says:
 * what is chosen by its place in a burst (say, the first after an ACK) has another round trip than the rest.
 */
#ifndef KNI_LATENCY_H
#define KNI_LATENCY_H

#include "limits.h"
#include "overtaken.h"

/* What one packet adds to the cold half. */
struct kni_observation {
	u64 rtt_ns; /* 0: none */
	u32 retransmitted; /* segments */
	u32 sent_at; /* in 64 ns | 1; 0: nothing of it is timed */
	u32 events; /* enum kni_event */
};

/* In each of the two places: the low half of a segment's key << 32 | its time in 64 ns | 1. 0: no segment. */
struct kni_pair {
	u64 places[2];
};

struct kni_segment {
	u64 key;
	struct kni_pair *pair;
};

/* What a packet sends and what it acknowledges. */
struct kni_segments {
	struct kni_segment sent;
	struct kni_segment acknowledged;
};

/* How many sequence numbers it takes: FIN and SYN one each. */
static __always_inline u32 kni_sequence_numbers(const struct kni_packet *packet)
{
	return packet->payload + (packet->tcp_flags & 1) + (packet->tcp_flags >> 1 & 1);
}

/* Within a conversation the low half tells all ends but those 2^31 apart. */
static __always_inline u64 kni_segment_key(u64 digest, u32 side, u32 end)
{
	return (digest + ((u64)end << 1 | side)) * 0x9e3779b97f4a7c15ull;
}

static __always_inline u32 kni_segment_index(u64 key)
{
	return key >> 40 & (KNI_SEGMENTS / 2 - 1);
}

static __always_inline u32 kni_is_there(const u64 *place, u64 key)
{
	return *place && *place >> 32 == (u32)key;
}

static __always_inline void kni_forget_segment(struct kni_segment segment)
{
	if (kni_is_there(&segment.pair->places[0], segment.key))
		segment.pair->places[0] = 0;
	if (kni_is_there(&segment.pair->places[1], segment.key))
		segment.pair->places[1] = 0;
}

/* now: in 64 ns | 1 */
static __always_inline void kni_remember_segment(struct kni_segment segment, u32 now)
{
	u64 *places = segment.pair->places;
	u32 first = now - (u32)places[0], second = now - (u32)places[1];

	places[first < second] = segment.key << 32 | now;
}

static __always_inline u32 kni_is_timed(const struct kni_clock *clock, u64 key)
{
#if defined(KNI_CLOCK_REPLAY)
	return 1;
#else
	return !clock->is_busy || !(key >> 36 & (KNI_TIMED_SHARE - 1));
#endif
}

static __always_inline void kni_follow_data(struct kni_hot *hot, struct kni_cold *cold, const struct kni_packet *packet,
					    const struct kni_frame *frame, struct kni_clock *clock,
					    struct kni_segment sent, struct kni_observation *seen)
{
	u32 side = packet->side & 1, used = kni_sequence_numbers(packet);
	u32 begin = packet->sequence, end = begin + used, highest = hot->highest[side];

	if (!used)
		return;
	if (highest && (s32)(end - highest) <= 0) {
		if (kni_was_overtaken(hot, cold, frame, side, begin, end))
			return;
		kni_forget_segment(sent);
		seen->retransmitted = frame->segments;
		return;
	}
	if (highest && (s32)(begin - highest) > 0)
		kni_open_gap(hot, cold, frame, side, begin);
	hot->highest[side] = end;
	clock->segments++;
	u32 is_timed = kni_is_timed(clock, sent.key);

	if (!is_timed && !frame->payload)
		return;
	seen->sent_at = kni_in_64_ns(kni_precise_now(frame)) | 1;
	if (is_timed)
		kni_remember_segment(sent, seen->sent_at);
}

/*
 * An ACK that a later one overtook times nothing: its segments were acknowledged before. Of two CPUs that see the same ACK
 * one takes the sample.
 */
static __always_inline u64 kni_follow_ack(struct kni_hot *hot, const struct kni_packet *packet,
					  const struct kni_frame *frame, const struct kni_clock *clock,
					  struct kni_segment acknowledged)
{
	u32 side = packet->side & 1, highest = hot->acknowledged[side];

	if (!(packet->tcp_flags & KNI_ACK) || (highest && (s32)(packet->ack - highest) <= 0))
		return 0;
	hot->acknowledged[side] = packet->ack;
	if (!kni_is_timed(clock, acknowledged.key))
		return 0;
	u64 *place = acknowledged.pair->places;

	if (!kni_is_there(place, acknowledged.key))
		place++;
	u64 under_way = *place;

	if (!kni_is_there(&under_way, acknowledged.key))
		return 0;
	if (__sync_val_compare_and_swap(place, under_way, 0) != under_way)
		return 0;
	u64 ns = kni_elapsed_ns((u32)under_way & ~1u, kni_in_64_ns(kni_precise_now(frame)));

	return ns ? ns : 1;
}

#endif
