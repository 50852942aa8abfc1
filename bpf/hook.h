/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * What a hook is given to a parsed packet and its measures on the wire: for XDP a frame, for TC a socket buffer.
 */
#ifndef KNI_HOOK_H
#define KNI_HOOK_H

#include "frame.h"
#include "latency.h"
#include "parsing.h"

/*
 * Where a CPU takes its packet apart; hooks run with softirqs off, so it has one at a time. It lies in a map, not on the
 * stack: of a map's memory the verifier knows nothing, so the parser's many ways to a result are one to what follows.
 */
struct kni_desk {
	struct kni_frame frame;
	struct kni_packet packet;
	struct kni_packet inner; /* of a tunnel */
	struct kni_observation seen;
	struct kni_slot slot;
	struct kni_clock clock;
};

static __always_inline void kni_clear_desk(struct kni_desk *desk, struct kni_slot slot, u32 ifindex, u32 direction)
{
	__builtin_memset(&desk->frame, 0, sizeof(desk->frame));
	desk->frame.ifindex = ifindex;
	desk->frame.direction = direction;
	desk->slot = slot;
	kni_barrier();
}

static __always_inline void kni_look_at_frame(struct xdp_md *context, struct kni_desk *desk)
{
	struct kni_frame *frame = &desk->frame;
	void *start = (void *)(long)context->data, *end = (void *)(long)context->data_end;
	struct kni_cursor cursor = { start, end, 0, end - start, 1 };

	frame->segments = 1;
	frame->length = frame->full = frame->rest = frame->bytes = end - start;
	kni_parse(&cursor, &desk->packet, &desk->inner, desk->slot.interface_kind == KNI_UPLINK);
}

/*
 * Headers may lie behind the bytes that are at hand: then all that can hold a header is pulled up, and only then, since
 * pulling copies the header of a socket buffer that is a clone, as TCP's are.
 */
static __always_inline void kni_parse_socket_buffer(struct __sk_buff *context, struct kni_desk *desk)
{
	u32 wanted = context->len < KNI_PULLED_BYTES ? context->len : KNI_PULLED_BYTES;

#pragma clang loop unroll(disable)
	for (u32 pulled = 0; pulled < 2; pulled++) {
		void *start = (void *)(long)context->data, *end = (void *)(long)context->data_end;
		struct kni_cursor cursor = { start, end, 0, desk->frame.length, pulled };

		kni_parse(&cursor, &desk->packet, &desk->inner, desk->slot.interface_kind == KNI_UPLINK);
		if (desk->packet.verdict != KNI_IS_SHORT || bpf_skb_pull_data(context, wanted))
			break;
	}
}

static __always_inline void kni_look_at_socket_buffer(struct __sk_buff *context, struct kni_desk *desk)
{
	desk->frame.length = kni_length(context);
	kni_barrier();
	kni_parse_socket_buffer(context, desk);
	kni_measure(&desk->frame, context, desk->packet.headers);
}

#endif
