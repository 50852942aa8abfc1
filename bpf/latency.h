/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * TCP sequence numbers to round trips and retransmissions, in one cache line per conversation. Pure.
 *
 * At most one probe per direction is under way: the end of a segment's sequence numbers and its time. The first ACK that
 * covers it is one sample; a retransmission discards it (Karn and Partridge, 1987). SYN and FIN are probes, too, as they
 * are in tshark's tcp.analysis.ack_rtt. A segment that ends at or below the highest sequence number seen is a
 * retransmission, a super-packet with all its segments.
 */
#ifndef KNI_LATENCY_H
#define KNI_LATENCY_H

#include "clock.h"
#include "packet.h"

/* What one packet adds to the cold half. */
struct kni_observation {
	u64 rtt_ns; /* 0: none */
	u32 retransmitted; /* segments */
	u32 events; /* enum kni_event */
};

static __always_inline u32 kni_in_64_ns(u64 ns)
{
	return ns >> 6;
}

/* The time between two such readings; 0 where a capture runs backwards. */
static __always_inline u64 kni_elapsed_ns(u32 from, u32 to)
{
	s32 elapsed = to - from;

	return elapsed > 0 ? (u64)elapsed << 6 : 0;
}

static __always_inline u64 kni_at_most_u32(u64 ns)
{
	return ns > 0xffffffffull ? 0xffffffffull : ns;
}

static __always_inline u32 kni_follow_data(struct kni_hot *hot, const struct kni_packet *packet,
					   const struct kni_frame *frame)
{
	u32 side = packet->side & 1, flags = packet->tcp_flags;
	u32 used = packet->payload + (flags & 1) + (flags >> 1 & 1); /* FIN and SYN take one each */
	u32 end = packet->sequence + used, highest = hot->highest[side];

	if (!used)
		return 0;
	if (highest && (s32)(end - highest) <= 0) {
		if (hot->probe[side])
			hot->probe[side] = 0;
		return frame->segments;
	}
	hot->highest[side] = end;
	if (!hot->probe[side])
		hot->probe[side] = (u64)end << 32 | kni_in_64_ns(kni_precise_now(frame)) | 1;
	return 0;
}

/* Of two CPUs that see the same ACK one takes the sample. */
static __always_inline u64 kni_follow_ack(struct kni_hot *hot, const struct kni_packet *packet,
					  const struct kni_frame *frame)
{
	u64 *probe = &hot->probe[(packet->side ^ 1) & 1];
	u64 under_way = *probe;

	if (!(packet->tcp_flags & KNI_ACK) || !under_way || (s32)(packet->ack - (u32)(under_way >> 32)) < 0)
		return 0;
	if (__sync_val_compare_and_swap(probe, under_way, 0) != under_way)
		return 0;
	u64 ns = kni_elapsed_ns((u32)under_way & ~1u, kni_in_64_ns(kni_precise_now(frame)));

	return ns ? ns : 1;
}

/* 5 bits exponent, 11 bits mantissa: exact to 0.05 % */
static __always_inline u16 kni_to_float16(u32 ns)
{
	u32 exponent = 0;

#pragma unroll
	for (u32 bits = 16; bits; bits >>= 1) {
		if (ns >> 11 >> (bits - 1)) {
			ns >>= bits;
			exponent += bits;
		}
	}
	return exponent << 11 | ns;
}

/* Algorithm R (Vitter 1985) over eight places; behind the first min(count, 8) stand older samples. */
static __always_inline void kni_note_rtt(struct kni_cold *cold, u32 side, u64 rtt_ns)
{
	u32 ns = kni_at_most_u32(rtt_ns);

	if (cold->rtt[side] >> 63)
		return; /* half full: nothing leaves since 8 million samples */
	u32 n = __sync_fetch_and_add(&cold->rtt[side], 1ull << 40 | ns >> 6) >> 40;
	u32 place = n;

	if (ns > cold->rtt_most[side])
		cold->rtt_most[side] = ns;
	if (~ns > cold->rtt_least[side])
		cold->rtt_least[side] = ~ns;
	if (n >= KNI_SAMPLES) /* the low bits of a time are random enough */
		place = (u64)((ns >> 6) * 2654435761u) * (n + 1) >> 32;
	if (place >= KNI_SAMPLES)
		return;
	asm volatile("%0 &= 7" : "+r"(place)); /* the compiler knows, the verifier does not */
	cold->rtt_samples[side][place] = kni_to_float16(ns);
}

#endif
