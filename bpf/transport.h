/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * TCP, UDP, ICMP and ICMPv6 headers to ports and what latencies need. Any other protocol has ports 0.
 */
#ifndef KNI_TRANSPORT_H
#define KNI_TRANSPORT_H

#include "packet.h"

/* A transport header that is not whole: a conversation is known by its ports, so the packet belongs to it. */
static __always_inline u32 kni_parse_ports(struct kni_cursor *cursor, struct kni_packet *packet)
{
	__be16 *ports = kni_peek(cursor, 4);

	if (!cursor->is_complete)
		return KNI_IS_SHORT;
	if (!ports || kni_left(cursor) < 4)
		return KNI_IS_MALFORMED;
	packet->identity.port[0] = kni_ntohs(ports[0]);
	packet->identity.port[1] = kni_ntohs(ports[1]);
	packet->is_irregular = 1;
	return KNI_PARSED;
}

static __always_inline u32 kni_parse_tcp(struct kni_cursor *cursor, struct kni_packet *packet)
{
	struct kni_tcp_header *tcp = kni_peek(cursor, sizeof(*tcp));

	if (!tcp)
		return kni_parse_ports(cursor, packet);
	u32 size = (tcp->offset >> 4) * 4;

	packet->identity.port[0] = kni_ntohs(tcp->src);
	packet->identity.port[1] = kni_ntohs(tcp->dst);
	if (size < sizeof(*tcp) || size > kni_left(cursor)) {
		packet->is_irregular = 1;
		return KNI_PARSED;
	}
	packet->sequence = kni_ntohl(tcp->sequence);
	packet->ack = kni_ntohl(tcp->ack);
	packet->tcp_flags = tcp->flags;
	packet->is_tcp = 1;
	packet->payload = kni_left(cursor) - size;
	cursor->offset += size;
	return KNI_PARSED;
}

static __always_inline u32 kni_parse_udp(struct kni_cursor *cursor, struct kni_packet *packet)
{
	struct kni_udp_header *udp = kni_peek(cursor, sizeof(*udp));

	if (!udp || kni_left(cursor) < sizeof(*udp))
		return kni_parse_ports(cursor, packet);
	packet->identity.port[0] = kni_ntohs(udp->src);
	packet->identity.port[1] = kni_ntohs(udp->dst);
	cursor->offset += sizeof(*udp);
	return KNI_PARSED;
}

/* In the place of ICMP's destination port: the other half of an echo, else the code (as Zeek has it). */
static __always_inline u16 kni_icmp_counterpart(u8 protocol, u8 type, u8 code)
{
	u8 request = protocol == KNI_ICMPV6 ? 128 : 8, reply = protocol == KNI_ICMPV6 ? 129 : 0;

	if (type == request)
		return reply;
	return type == reply ? request : code;
}

/* Type and code stand for ports; a reply has its request's, turned round. */
static __always_inline u32 kni_parse_icmp(struct kni_cursor *cursor, struct kni_packet *packet)
{
	struct kni_icmp_header *icmp = kni_take(cursor, sizeof(*icmp));

	if (!icmp)
		return kni_missing(cursor);
	u8 protocol = packet->identity.protocol;

	packet->is_reply = icmp->type == (protocol == KNI_ICMPV6 ? 129 : 0);
	packet->identity.port[0] = icmp->type;
	packet->identity.port[1] = kni_icmp_counterpart(protocol, icmp->type, icmp->code);
	return KNI_PARSED;
}

static __always_inline u32 kni_parse_transport(struct kni_cursor *cursor, struct kni_packet *packet)
{
	packet->identity.port[0] = packet->identity.port[1] = 0;
	if (packet->is_later_fragment)
		return KNI_PARSED;
	switch (packet->identity.protocol) {
	case KNI_TCP:
		return kni_parse_tcp(cursor, packet);
	case KNI_UDP:
		return kni_parse_udp(cursor, packet);
	case KNI_ICMP:
	case KNI_ICMPV6:
		return kni_parse_icmp(cursor, packet);
	}
	return KNI_PARSED;
}

#endif
