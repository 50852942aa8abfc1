/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Every frame at a hook to exactly one outcome, and its segments to a size: the totals that records are checked against.
 */
#ifndef KNI_TOTALS_H
#define KNI_TOTALS_H

#include "frame.h"

static __always_inline void kni_tally(struct kni_hook_total *total, u32 outcome, const struct kni_frame *frame)
{
	total->frames[outcome]++;
	total->packets[outcome] += frame->segments;
	total->bytes[outcome] += frame->bytes;
}

/*
 * Smallest b with bytes <= 64 << b, at most KNI_SIZES - 1: how many bits (bytes - 1) / 64 has, by halving and without a
 * branch, since it indexes memory. No frame has 0 bytes.
 */
static __always_inline u64 kni_size_bucket(u32 bytes)
{
	u64 rest = (u64)(bytes - 1) >> 6, bucket = 0;

	rest = rest < 1024 ? rest : 1024;
#pragma unroll
	for (u64 bits = 8; bits; bits >>= 1) {
		u64 step = bits & (0 - ((((1ull << bits) - 1) - rest) >> 63));

		bucket += step;
		rest >>= step;
	}
	bucket += rest;
	asm volatile("" : "+r"(bucket));
	return bucket;
}

static __always_inline u64 kni_class(u8 protocol)
{
	if (protocol == KNI_TCP)
		return KNI_CLASS_TCP;
	if (protocol == KNI_UDP)
		return KNI_CLASS_UDP;
	return protocol == KNI_ICMP || protocol == KNI_ICMPV6 ? KNI_CLASS_ICMP : KNI_CLASS_OTHER;
}

static __always_inline void kni_count_sizes(struct kni_hook_total *total, const struct kni_packet *packet,
					    const struct kni_frame *frame)
{
	u64 class = kni_class(packet->identity.protocol), rest = kni_size_bucket(frame->rest);

	asm volatile("" : "+r"(class));
	if (class >= KNI_CLASSES || rest >= KNI_SIZES)
		return;
	total->size_packets[class][rest]++;
	total->size_bytes[class] += frame->bytes;
	if (frame->segments > 1) {
		u64 full = kni_size_bucket(frame->full);

		if (full < KNI_SIZES)
			total->size_packets[class][full] += frame->segments - 1;
	}
	if (packet->is_irregular)
		total->irregular_frames++;
}

#endif
