/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * The bytes of a frame under a cursor, and what is found in them: struct kni_packet.
 *
 * A header is looked at by one bounds check. Nothing here knows a map or a hook. Hostile bytes cost a verdict, never a read
 * past the end.
 */
#ifndef KNI_PACKET_H
#define KNI_PACKET_H

#include "headers.h"
#include "table.h"

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "addresses are put together as little-endian words"
#endif

#define KNI_HEADER_BYTES 512 /* headers that begin behind them are not looked for */
#define KNI_PULLED_BYTES 640 /* with the longest header that begins before them */

enum kni_verdict {
	KNI_PARSED,
	KNI_IS_NOT_IP,
	KNI_IS_MALFORMED,
	KNI_IS_SHORT, /* the header ends behind the bytes at hand: pull them up and parse again */
};

struct kni_cursor {
	void *start;
	void *end; /* of the bytes at hand */
	u32 offset;
	u32 limit; /* where the frame ends, or what the IP header says is its packet */
	u32 is_complete; /* no more bytes can be pulled up */
};

struct kni_packet {
	struct kni_identity identity; /* sides in order only behind kni_order() */
	u32 offset; /* of the header that is parsed; read back from here the verifier knows nothing of it */
	u32 verdict; /* enum kni_verdict */
	u32 headers; /* bytes from the start of the frame to the end of the innermost transport header */
	u32 sequence, ack, payload;
	u8 side; /* that sent it */
	u8 tcp_flags;
	u8 is_tcp; /* with a header that can be read */
	u8 is_irregular; /* ports readable, the rest of the transport header impossible */
	u8 is_later_fragment;
	u8 is_reply; /* ICMP echo */
	u8 is_tunnelled; /* outer addresses are given */
};

static __always_inline void kni_forget_packet(struct kni_packet *packet)
{
	packet->identity.vni = 0;
	packet->sequence = packet->ack = packet->payload = packet->headers = 0;
	packet->side = packet->tcp_flags = packet->is_tcp = 0;
	packet->is_irregular = packet->is_later_fragment = packet->is_reply = packet->is_tunnelled = 0;
}

/* The header here, NULL where it is not at hand. Headers do not go on behind KNI_HEADER_BYTES. */
static __always_inline void *kni_peek(const struct kni_cursor *cursor, u32 size)
{
	u64 offset = cursor->offset;
	void *header;

	if (offset > KNI_HEADER_BYTES)
		return NULL;
	/* Linux 6.1 loses sight of the bound where the compiler spills the offset, and does not see that two sums are one. */
	asm volatile("%0 &= 1023" : "+r"(offset));
	header = cursor->start + offset;
	asm volatile("" : "+r"(header));
	return header + size > cursor->end ? NULL : header;
}

static __always_inline void *kni_take(struct kni_cursor *cursor, u32 size)
{
	void *header = kni_peek(cursor, size);

	cursor->offset += size;
	return header;
}

static __always_inline u32 kni_left(const struct kni_cursor *cursor)
{
	return cursor->limit > cursor->offset ? cursor->limit - cursor->offset : 0;
}

/* What is on the wire but not at hand may come; what the frame does not have never does. */
static __always_inline u32 kni_missing(const struct kni_cursor *cursor)
{
	return cursor->is_complete ? KNI_IS_MALFORMED : KNI_IS_SHORT;
}

#define kni_barrier() asm volatile("" ::: "memory")

/* Makes all ways that lead to this offset one to the verifier. */
static __always_inline void kni_merge(struct kni_cursor *cursor, struct kni_packet *packet)
{
	packet->offset = cursor->offset;
	kni_barrier();
	cursor->offset = packet->offset;
}

#endif
