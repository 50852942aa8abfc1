/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * A frame to the conversation it belongs to: the inner one of a VXLAN frame, with the outer addresses beside it.
 */
#ifndef KNI_TUNNEL_H
#define KNI_TUNNEL_H

#include "parsing.h"

enum { KNI_VXLAN_PORT = 4789, KNI_LINUX_VXLAN_PORT = 8472, KNI_VXLAN_HAS_VNI = 8 };

static __always_inline u32 kni_is_vxlan(const struct kni_packet *packet)
{
	u16 port = packet->identity.port[1];

	return packet->identity.protocol == KNI_UDP && (port == KNI_VXLAN_PORT || port == KNI_LINUX_VXLAN_PORT) &&
	       !packet->is_irregular;
}

/* What is no frame of an IP packet stays the outer UDP conversation: others may use these ports, too. */
static __always_inline u32 kni_parse_vxlan(struct kni_cursor *cursor, struct kni_packet *packet,
					   struct kni_packet *inner)
{
	struct kni_vxlan_header *vxlan = kni_take(cursor, sizeof(*vxlan));

	if (!vxlan)
		return cursor->is_complete ? KNI_PARSED : KNI_IS_SHORT;
	if (!(vxlan->flags & KNI_VXLAN_HAS_VNI))
		return KNI_PARSED;
	u32 vni = vxlan->vni[0] << 16 | vxlan->vni[1] << 8 | vxlan->vni[2];
	u32 verdict;

	kni_forget_packet(inner);
	kni_merge(cursor, inner);
	verdict = kni_parse_frame(cursor, inner);

	if (verdict != KNI_PARSED)
		return verdict == KNI_IS_SHORT ? KNI_IS_SHORT : KNI_PARSED;
	__builtin_memcpy(inner->identity.outer, packet->identity.address, sizeof(inner->identity.outer));
	inner->identity.vni = vni;
	inner->headers = cursor->offset;
	*packet = *inner;
	return KNI_PARSED;
}

/*
 * Side 0 has the higher port, at equal ports the higher address; in ICMP it is who asks, else who sends: the client, as
 * long as nobody saw a SYN, and the same one at every interface.
 */
static __always_inline u64 kni_is_less(u64 a, u64 b)
{
	return ((~a & b) | ((~a | b) & (a - b))) >> 63; /* Warren, "Hacker's Delight", 2-12 */
}

/* No branch: a side indexes memory, and the verifier would follow each way to it apart. */
static __always_inline u32 kni_sender_side(const struct kni_packet *packet)
{
	const struct kni_identity *id = &packet->identity;
	u64 high[2] = { kni_ntohll(id->address[0][0]), kni_ntohll(id->address[1][0]) };
	u64 low[2] = { kni_ntohll(id->address[0][1]), kni_ntohll(id->address[1][1]) };
	u64 by_low = kni_is_less(low[0], low[1]);
	u64 by_high = kni_is_less(high[0], high[1]) | (~kni_is_less(high[1], high[0]) & by_low);
	u64 by_port = kni_is_less(id->port[0], id->port[1]) | (~kni_is_less(id->port[1], id->port[0]) & by_high);

	return by_port & 1;
}

static __always_inline void kni_swap_if(u64 mask, u64 *a, u64 *b)
{
	u64 difference = (*a ^ *b) & mask;

	*a ^= difference;
	*b ^= difference;
}

static __always_inline void kni_order(struct kni_packet *packet)
{
	struct kni_identity *id = &packet->identity;
	u32 is_icmp = id->protocol == KNI_ICMP || id->protocol == KNI_ICMPV6;
	u64 side = is_icmp ? packet->is_reply : kni_sender_side(packet), mask = -side;
	u16 ports = (id->port[0] ^ id->port[1]) & mask;

	packet->side = side;
	id->port[0] ^= ports;
	id->port[1] ^= ports;
	kni_swap_if(mask, &id->address[0][0], &id->address[1][0]);
	kni_swap_if(mask, &id->address[0][1], &id->address[1][1]);
	if (!id->vni)
		return;
	kni_swap_if(mask, &id->outer[0][0], &id->outer[1][0]);
	kni_swap_if(mask, &id->outer[0][1], &id->outer[1][1]);
}

/* inner: memory for the conversation inside a tunnel */
static __always_inline u32 kni_parse(struct kni_cursor *cursor, struct kni_packet *packet, struct kni_packet *inner,
				     u32 opens_tunnels)
{
	u32 verdict;

	kni_forget_packet(packet);
	verdict = kni_parse_frame(cursor, packet);

	if (verdict != KNI_PARSED)
		return verdict;
	packet->headers = cursor->offset;
	if (opens_tunnels && kni_is_vxlan(packet))
		return kni_parse_vxlan(cursor, packet, inner);
	return KNI_PARSED;
}

#endif
