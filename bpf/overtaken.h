/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * TCP segments that a later one overtook on the way to the hook, told apart from those that are sent again. Pure.
 *
 * Every CPU has a queue of its own for the frames that a veth brings (softnet_data.input_pkt_queue in net/core/dev.c), and
 * TCP sends from whichever CPU runs the program or takes the ACK. So two segments may come to a hook in the other order
 * than TCP sent them. The later one leaves a gap, and what comes out of a gap was never here before. Behind a network it
 * may be a retransmission nevertheless, of what was lost on the way; but then it comes no earlier than a round trip
 * behind the segment that opened the gap, whose ACK provokes it. So time tells, as in tshark's tcp.analysis.out_of_order:
 * the handshake's round trip, else 3 ms. Between the sender's own socket or pod and a hook only the order is lost.
 */
#ifndef KNI_OVERTAKEN_H
#define KNI_OVERTAKEN_H

#include "clock.h"
#include "durations.h"
#include "packet.h"

#define KNI_LATE_FROM_SENDER_NS 200000000ull /* TCP_RTO_MIN in include/net/tcp.h: by then a queue is empty */
#define KNI_LATE_NS		3000000ull /* where no handshake was seen */

static __always_inline u64 kni_latest_ns(const struct kni_cold *cold, const struct kni_frame *frame)
{
	if (frame->has_local_socket || (cold->identity.interface_kind == KNI_POD && frame->direction == KNI_INGRESS))
		return KNI_LATE_FROM_SENDER_NS;
	return cold->round_trip ? kni_from_float16(cold->round_trip) : KNI_LATE_NS;
}

/* Whether this side's segments left a gap that may still be filled. at: as in kni_cold.gap_at */
static __always_inline u32 kni_is_gap_open(const struct kni_hot *hot, const struct kni_cold *cold,
					   const struct kni_frame *frame, u32 at)
{
	u32 before = cold->gap_at;

	return hot->gap_begin != hot->gap_end && !((before ^ at) & 1) &&
	       kni_elapsed_ns(before, at) <= kni_latest_ns(cold, frame);
}

static __always_inline u32 kni_gap_at(const struct kni_frame *frame, u32 side)
{
	return (kni_in_64_ns(kni_precise_now(frame)) & ~1u) | side;
}

/*
 * A segment begins behind the highest sequence number: it jumped over what is between. What was missing before it is part
 * of the same gap. Another CPU may bring what is missing at this moment: then highest has moved.
 */
static __always_inline void kni_open_gap(struct kni_hot *hot, struct kni_cold *cold, const struct kni_frame *frame,
					 u32 side, u32 begin)
{
	u32 at = kni_gap_at(frame, side), highest = hot->highest[side];

	if (!kni_is_gap_open(hot, cold, frame, at))
		hot->gap_begin = highest;
	hot->gap_end = begin;
	cold->gap_at = at;
	kni_barrier();
	if (hot->highest[side] == begin)
		hot->gap_begin = begin;
}

/* Whether a segment came out of the gap. It leaves the gap smaller, but never in two pieces. */
static __always_inline u32 kni_was_overtaken(struct kni_hot *hot, struct kni_cold *cold, const struct kni_frame *frame,
					     u32 side, u32 begin, u32 end)
{
	if ((s32)(begin - hot->gap_begin) < 0 || (s32)(end - hot->gap_end) > 0 ||
	    !kni_is_gap_open(hot, cold, frame, kni_gap_at(frame, side)))
		return 0;
	if (begin == hot->gap_begin)
		hot->gap_begin = end;
	else if (end == hot->gap_end)
		hot->gap_end = begin;
	return 1;
}

#endif
