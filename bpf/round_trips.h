/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * A direction's round trips since its last record to sixteen of them and a histogram of all. Pure.
 *
 * Sixteen samples alone would tell the median of some hundred too badly, sixteen lanes of a histogram alone the few of a
 * quiet conversation: together they do both. The lanes go around: a value's lane is the low four bits of its bucket, so
 * none has to move when a smaller value comes. Least and greatest value lie less than sixteen buckets apart, for which
 * the buckets are made wider where necessary.
 *
 * Of two CPUs that note a round trip of one direction at once, which hardly ever happens, one may lose its count in a lane
 * or find it in the wrong one. How many there were and their sum are exact.
 */
#ifndef KNI_ROUND_TRIPS_H
#define KNI_ROUND_TRIPS_H

#include "latency.h"

enum {
	KNI_NARROW = 6, /* shift of a step to a bucket of a sixteenth of an octave: the lanes hold an octave */
	KNI_WIDE = 11, /* of two octaves: the lanes hold all */
};

/* Its place on a scale of 1024 steps an octave, and of 1 ns below 2048 ns. */
static __always_inline u32 kni_step_of(u16 float16)
{
	return (float16 >> 11) * 1024 + (float16 & 2047);
}

/* Moves what is in the lanes to wider ones; `least` is the least value that is in them. */
static __always_inline void kni_widen(struct kni_cold *cold, u32 side, u32 least, u32 shift)
{
	u32 before = cold->rtt_shift[side], base = kni_step_of(kni_to_float16(least)) >> before;
	u16 counts[KNI_LANES];

	__builtin_memcpy(counts, cold->rtt_lanes[side], sizeof(counts));
	__builtin_memset(cold->rtt_lanes[side], 0, sizeof(counts));
	cold->rtt_shift[side] = shift;
#pragma unroll
	for (u32 lane = 0; lane < KNI_LANES; lane++) {
		u32 bucket = base + ((lane - base) & (KNI_LANES - 1)), to = bucket >> (shift - before);

		asm volatile("%0 &= 15" : "+r"(to)); /* the compiler knows, the verifier does not */
		cold->rtt_lanes[side][to] += counts[lane];
	}
}

static __always_inline void kni_note_extremes(struct kni_cold *cold, u32 side, u32 ns, u32 is_first)
{
	u32 least = ~cold->rtt_least[side], shift = is_first ? KNI_NARROW : cold->rtt_shift[side];

	if (ns > cold->rtt_most[side])
		cold->rtt_most[side] = ns;
	if (ns < least)
		cold->rtt_least[side] = ~ns;
	u64 low = kni_step_of(kni_to_float16(~cold->rtt_least[side]));
	u64 high = kni_step_of(kni_to_float16(cold->rtt_most[side]));

#pragma unroll
	for (u32 n = 0; n < KNI_WIDE - KNI_NARROW; n++)
		shift += kni_is_greater((high >> shift) - (low >> shift), KNI_LANES - 1);
	if (is_first)
		cold->rtt_shift[side] = KNI_NARROW;
	else if (shift > cold->rtt_shift[side])
		kni_widen(cold, side, least, shift);
}

/* Algorithm R (Vitter 1985) over the sixteen places; behind the first min(count, 16) stand older samples. */
static __always_inline void kni_note_sample(struct kni_cold *cold, u32 side, u32 n, u32 ns, u16 float16)
{
	u32 place = n;

	if (n >= KNI_SAMPLES) /* the low bits of a time are random enough */
		place = (u64)((ns >> 6) * 2654435761u) * (n + 1) >> 32;
	if (place >= KNI_SAMPLES)
		return;
	asm volatile("%0 &= 15" : "+r"(place)); /* the compiler knows, the verifier does not */
	cold->rtt_samples[side][place] = float16;
}

static __always_inline void kni_note_rtt(struct kni_cold *cold, u32 side, u64 rtt_ns)
{
	u32 ns = kni_at_most_u32(rtt_ns);
	u16 float16 = kni_to_float16(ns);

	if (cold->rtt[side] >> 63)
		return; /* half full: nothing leaves since 8 million samples */
	u32 n = __sync_fetch_and_add(&cold->rtt[side], 1ull << 40 | ns >> 6) >> 40;

	if (ns > cold->rtt_most[side] || ~ns > cold->rtt_least[side])
		kni_note_extremes(cold, side, ns, !n);
	kni_note_sample(cold, side, n, ns, float16);
	u32 lane = kni_step_of(float16) >> (cold->rtt_shift[side] & 15);

	asm volatile("%0 &= 15" : "+r"(lane));
	if (cold->rtt_lanes[side][lane] < 65535) /* half of all is in one lane: its share is little wrong then */
		cold->rtt_lanes[side][lane]++;
}

#endif
