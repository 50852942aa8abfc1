/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * A frame to the conversation it belongs to: Ethernet, up to two VLAN tags, IP, transport; of a VXLAN frame the inner one,
 * with the outer addresses beside it.
 */
#ifndef KNI_PARSING_H
#define KNI_PARSING_H

#include "network.h"
#include "transport.h"

static __always_inline u32 kni_is_vlan(u16 type)
{
	return type == KNI_VLAN || type == KNI_SERVICE_VLAN;
}

/* *type: ethertype behind up to two tags */
static __always_inline u32 kni_parse_ethernet(struct kni_cursor *cursor, u16 *type)
{
	struct kni_ethernet_header *ethernet = kni_take(cursor, sizeof(*ethernet));

	if (!ethernet)
		return kni_missing(cursor);
	*type = kni_ntohs(ethernet->type);
#pragma unroll
	for (u32 tags = 0; tags < 2 && kni_is_vlan(*type); tags++) {
		struct kni_vlan_header *vlan = kni_take(cursor, sizeof(*vlan));

		if (!vlan)
			return kni_missing(cursor);
		*type = kni_ntohs(vlan->type);
	}
	return KNI_PARSED;
}

static __always_inline u32 kni_parse_frame(struct kni_cursor *cursor, struct kni_packet *packet)
{
	u16 type = 0;
	u32 verdict = kni_parse_ethernet(cursor, &type);

	if (verdict != KNI_PARSED)
		return verdict;
	if (type == KNI_IPV4)
		verdict = kni_parse_ipv4(cursor, packet);
	else if (type == KNI_IPV6)
		verdict = kni_parse_ipv6(cursor, packet);
	else
		return KNI_IS_NOT_IP;
	if (verdict != KNI_PARSED)
		return verdict;
	return kni_parse_transport(cursor, packet);
}

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
	kni_forget_packet(inner);
	inner->identity.vni = vxlan->vni[0] << 16 | vxlan->vni[1] << 8 | vxlan->vni[2];
	kni_merge(cursor, inner);
	u32 verdict = kni_parse_frame(cursor, inner);

	if (verdict != KNI_PARSED)
		return verdict == KNI_IS_SHORT ? KNI_IS_SHORT : KNI_PARSED;
	__builtin_memcpy(inner->identity.outer, packet->identity.address, sizeof(inner->identity.outer));
	inner->is_tunnelled = 1;
	inner->headers = cursor->offset;
	*packet = *inner;
	return KNI_PARSED;
}

/* inner: memory for the conversation inside a tunnel. The verdict stands in the packet. */
static __always_inline void kni_parse(struct kni_cursor *cursor, struct kni_packet *packet, struct kni_packet *inner,
				      u32 opens_tunnels)
{
	u32 verdict;

	kni_forget_packet(packet);
	verdict = kni_parse_frame(cursor, packet);
	packet->headers = cursor->offset;
	if (verdict == KNI_PARSED && opens_tunnels && kni_is_vxlan(packet))
		verdict = kni_parse_vxlan(cursor, packet, inner);
	packet->verdict = verdict;
	kni_barrier();
}

#endif
