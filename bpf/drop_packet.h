/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * A dropped sk_buff to what it was: its size, its conversation, its network namespace. No maps.
 *
 * The fields of the kernel's structs are read at offsets that the loader takes from the running kernel's BTF and gives as
 * macros KNI_…_OFFSET.
 */
#ifndef KNI_DROP_PACKET_H
#define KNI_DROP_PACKET_H

#include "drop_table.h"
#include "parsing.h"

#define TCP_FLAGS_AT 13
#define GSO_UDP_L4   (1 << 17) /* SKB_GSO_UDP_L4, include/linux/skbuff.h */
#define NO_HEADER    0xffff /* a header offset that was never set */

/* A field of a kernel struct; zero where the pointer leads nowhere. */
#define READ(field, pointer, offset) bpf_probe_read_kernel(&(field), sizeof(field), (void *)(pointer) + (offset))

/* From the first to the last field of struct sk_buff that is read of every drop: a read costs more than its bytes. */
#define SKB_BYTES (KNI_SKB_LAST_OFFSET - KNI_SKB_FIRST_OFFSET + 8)

/* One dropped sk_buff: what of it was read, and how much it was. */
struct dropped {
	void *skb;
	u64 packets;
	u64 bytes;
	u8 fields[SKB_BYTES] __attribute__((aligned(8)));
};

#define FIELD(packet, type, offset) (*(type *)((packet)->fields + (offset)-KNI_SKB_FIRST_OFFSET))

/* Segments of a super-packet whose gso_segs nobody filled in (virtio and TAP leave that to us). */
static __always_inline u64 count_segments(struct dropped *packet, void *shared, u32 gso_size)
{
	u8 *head = FIELD(packet, u8 *, KNI_SKB_HEAD_OFFSET), words = 0;
	u16 transport = FIELD(packet, u16, KNI_SKB_TRANSPORT_HEADER_OFFSET);
	u32 gso_type = 0, payload;
	u64 header;

	READ(gso_type, shared, KNI_SHARED_GSO_TYPE_OFFSET);
	if (transport == NO_HEADER)
		return 1;
	header = (u64)(head + transport) - FIELD(packet, u64, KNI_SKB_DATA_OFFSET) + 8;
	if (!(gso_type & GSO_UDP_L4)) {
		READ(words, head, transport + 12);
		header += (words >> 4) * 4 - 8;
	}
	if (header >= packet->bytes)
		return 1;
	payload = packet->bytes - header;
	return (payload + gso_size - 1) / gso_size;
}

static __always_inline void measure(struct dropped *packet)
{
	u16 gso_segs = 0, gso_size = 0;
	void *shared;

	READ(packet->fields, packet->skb, KNI_SKB_FIRST_OFFSET);
	packet->bytes = FIELD(packet, u32, KNI_SKB_LEN_OFFSET);
	packet->packets = 1;
	shared = FIELD(packet, u8 *, KNI_SKB_HEAD_OFFSET) + FIELD(packet, u32, KNI_SKB_END_OFFSET);
	READ(gso_size, shared, KNI_SHARED_GSO_SIZE_OFFSET);
	if (!gso_size)
		return;
	READ(gso_segs, shared, KNI_SHARED_GSO_SEGS_OFFSET);
	packet->packets = gso_segs ? gso_segs : count_segments(packet, shared, gso_size);
}

/* Ports, or what kni_parse_icmp gives in their place; the flags of TCP are the result. */
static __always_inline u64 read_transport(struct kni_drop_key *key, u8 *at, s32 room)
{
	u8 bytes[TCP_FLAGS_AT + 1] = {};

	if (room < 4)
		return 0;
	bpf_probe_read_kernel(bytes, sizeof(bytes), at);
	switch (key->protocol) {
	case KNI_TCP:
	case KNI_UDP:
		key->src_port = bytes[0] << 8 | bytes[1];
		key->dst_port = bytes[2] << 8 | bytes[3];
		break;
	case KNI_ICMP:
	case KNI_ICMPV6:
		key->src_port = bytes[0];
		key->dst_port = kni_icmp_counterpart(key->protocol, bytes[0], bytes[1]);
		break;
	}
	return key->protocol == KNI_TCP && room > TCP_FLAGS_AT ? bytes[TCP_FLAGS_AT] : 0;
}

static __always_inline u64 read_ipv4(struct kni_drop_key *key, u8 *at, s32 room)
{
	struct kni_ipv4_header ip = {};
	s32 length;

	bpf_probe_read_kernel(&ip, sizeof(ip), at);
	length = (ip.version_ihl & 15) * 4;
	if (room < (s32)sizeof(ip) || ip.version_ihl >> 4 != 4 || length < (s32)sizeof(ip))
		return 0;
	key->ip_version = 4;
	key->protocol = ip.protocol;
	key->src_addr[10] = key->src_addr[11] = key->dst_addr[10] = key->dst_addr[11] = 0xff;
	__builtin_memcpy(key->src_addr + 12, &ip.src, sizeof(ip.src));
	__builtin_memcpy(key->dst_addr + 12, &ip.dst, sizeof(ip.dst));
	if (kni_ntohs(ip.fragment) & 0x1fff) /* a later fragment has no transport header */
		return 0;
	return read_transport(key, at + length, room - length);
}

static __always_inline u64 read_ipv6(struct kni_drop_key *key, u8 *at, s32 room)
{
	struct kni_ipv6_header ip = {};
	struct kni_extension_header extension;

	bpf_probe_read_kernel(&ip, sizeof(ip), at);
	if (room < (s32)sizeof(ip) || kni_ntohl(ip.version_class_label) >> 28 != 6)
		return 0;
	key->ip_version = 6;
	key->protocol = ip.next;
	__builtin_memcpy(key->src_addr, ip.src, sizeof(ip.src));
	__builtin_memcpy(key->dst_addr, ip.dst, sizeof(ip.dst));
	at += sizeof(ip);
	room -= sizeof(ip);
#pragma clang loop unroll(disable)
	for (u32 n = 0; n < 8; n++) {
		if (!kni_is_extension(key->protocol))
			break;
		s32 size;

		if (room < (s32)sizeof(extension))
			return 0;
		bpf_probe_read_kernel(&extension, sizeof(extension), at);
		size = kni_extension_size(key->protocol, extension.length);
		at += size;
		room -= size;
		if (key->protocol == 44 && kni_ntohs(extension.fragment) & 0xfff8)
			room = 0;
		key->protocol = extension.next;
	}
	return read_transport(key, at, room);
}

/* Fills the key and gives TCP's flags. ip_version stays 0 where no IP header can be read. */
static __always_inline u64 read_conversation(struct kni_drop_key *key, struct dropped *packet)
{
	u8 *at = FIELD(packet, u8 *, KNI_SKB_HEAD_OFFSET) + FIELD(packet, u16, KNI_SKB_NETWORK_HEADER_OFFSET);
	s32 room = (s32)FIELD(packet, u32, KNI_SKB_TAIL_OFFSET) - FIELD(packet, u16, KNI_SKB_NETWORK_HEADER_OFFSET);

	if (FIELD(packet, u16, KNI_SKB_PROTOCOL_OFFSET) == kni_ntohs(KNI_IPV4))
		return read_ipv4(key, at, room);
	if (FIELD(packet, u16, KNI_SKB_PROTOCOL_OFFSET) == kni_ntohs(KNI_IPV6))
		return read_ipv6(key, at, room);
	return 0;
}

static __always_inline u32 netns_of(void *net)
{
	u32 inode = 0;

	if (net)
		READ(inode, net, KNI_NET_INUM_OFFSET);
	return inode;
}

/*
 * Is this a network namespace? sk_buff.dev shares its memory with tree links and scratch words, and is one of those when
 * a queue drops the packet. Of a true namespace the loopback device leads back to it.
 */
static __always_inline bool is_netns(void *net)
{
	void *loopback = NULL, *back = NULL;

	READ(loopback, net, KNI_NET_LOOPBACK_OFFSET);
	if (loopback)
		READ(back, loopback, KNI_DEVICE_NET_OFFSET);
	return back == net;
}

static __always_inline u32 netns_of_socket(void *socket)
{
	void *net = NULL;

	if (socket)
		READ(net, socket, KNI_SOCKET_NET_OFFSET);
	return netns_of(net);
}

#endif
