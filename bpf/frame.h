/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * A socket buffer to what it is on the wire: a super-packet is many frames, each with its own headers.
 */
#ifndef KNI_FRAME_H
#define KNI_FRAME_H

#include "clock.h"
#include "parsing.h"

/* Of a replayed capture the true length stands in wire_len, since a frame is cut to what a test-run takes. */
static __always_inline u32 kni_length(struct __sk_buff *context)
{
#if defined(KNI_CLOCK_REPLAY)
	return context->wire_len > context->len ? context->wire_len : context->len;
#else
	return context->len;
#endif
}

/* gso_segs is 0 on most buffers that are one frame, and on some from TAP devices that are many. */
static __always_inline u32 kni_segments(u32 segments, u32 size, u32 payload)
{
	if (segments)
		return segments;
	return size && payload > size ? (payload + size - 1) / size : 1;
}

/* length and headers: with the VLAN tag, which the kernel keeps beside the bytes. headers 0: not parsed. */
static __always_inline void kni_measure(struct kni_frame *frame, struct __sk_buff *context, u32 length, u32 headers)
{
	u32 size = context->gso_size;
	u32 segments = kni_segments(context->gso_segs, size, length > headers ? length - headers : 0);
	u32 before = size * (segments - 1); /* payload of all but the last */

	frame->length = length;
	frame->segments = segments;
	frame->bytes = length + (u64)(segments - 1) * headers;
	frame->full = segments > 1 && size ? size + headers : length;
	frame->rest = before < length ? length - before : length;
#if defined(KNI_CLOCK_REPLAY)
	frame->captured_ns = context->tstamp;
#endif
}

/* Smallest b with bytes <= 64 << b, at most KNI_SIZES - 1; without a branch: it indexes memory. */
static __always_inline u64 kni_size_bucket(u32 bytes)
{
	u64 bucket = 0;

#pragma unroll
	for (u64 b = 0; b < KNI_SIZES - 1; b++)
		bucket += ((64ull << b) - bytes) >> 63;
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
