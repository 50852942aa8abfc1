/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * A socket buffer to what it is on the wire: a super-packet is many frames, each with its own headers.
 */
#ifndef KNI_FRAME_H
#define KNI_FRAME_H

#include "clock.h"
#include "packet.h"

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

/* The kernel keeps the outermost VLAN tag beside the bytes. headers: of what could be parsed. */
static __always_inline void kni_measure(struct kni_frame *frame, struct __sk_buff *context, u32 headers)
{
	u32 tag = context->vlan_present ? sizeof(struct kni_vlan_header) : 0, size = context->gso_size;
	u32 length = frame->length, payload = length > headers ? length - headers : 0;
	u32 segments = kni_segments(context->gso_segs, size, payload);
	u32 before = size * (segments - 1); /* payload of all but the last */

	frame->segments = segments;
	frame->payload = segments > 1 ? size : 0;
	frame->bytes = length + tag + (u64)(segments - 1) * (headers + tag);
	frame->full = segments > 1 && size ? size + headers + tag : length + tag;
	frame->rest = (before < length ? length - before : length) + tag;
	frame->has_local_socket = frame->direction == KNI_EGRESS && context->sk;
#if defined(KNI_CLOCK_REPLAY)
	frame->captured_ns = context->tstamp;
#endif
}

#endif
