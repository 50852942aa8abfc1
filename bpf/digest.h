/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * A packet's identity, its sides put in order, to the 63 bits that name its conversation in the table.
 *
 * The digest is a conversation's only identity on the packets' path, and who sends packets chooses what is hashed. So it
 * is multilinear hashing (Carter and Wegman; Lemire and Kaser, "Strongly universal string hashing is fast", 2014): the sum
 * of 32-bit words times secret 64-bit keys. Of each of two such sums the upper 32 bits are taken: two different
 * conversations meet with probability 2^-32 in each half, whatever they are, to who does not know the seed.
 */
#ifndef KNI_DIGEST_H
#define KNI_DIGEST_H

#include "limits.h"
#include "packet.h"

static __always_inline u64 kni_is_less(u64 a, u64 b)
{
	return ((~a & b) | ((~a | b) & (a - b))) >> 63; /* Warren, "Hacker's Delight", 2-12 */
}

static __always_inline u64 kni_is_lower_address(const u64 *a, const u64 *b)
{
	u64 is_less = kni_is_less(kni_ntohll(a[0]), kni_ntohll(b[0]));
	u64 is_more = kni_is_less(kni_ntohll(b[0]), kni_ntohll(a[0]));

	return is_less | (~is_more & kni_is_less(kni_ntohll(a[1]), kni_ntohll(b[1])));
}

/* By arithmetic: a side indexes memory, and behind a branch the verifier would follow each way to it apart. */
static __always_inline u64 kni_sender_side(const struct kni_packet *packet)
{
	const struct kni_identity *id = &packet->identity;
	u64 side = ((u64)id->port[0] - id->port[1]) >> 63;

	if (id->port[0] == id->port[1])
		side = kni_is_lower_address(id->address[0], id->address[1]) & 1;
	return side;
}

static __always_inline void kni_swap_if(u64 mask, u64 *a, u64 *b)
{
	u64 difference = (*a ^ *b) & mask;

	*a ^= difference;
	*b ^= difference;
}

/*
 * Side 0 has the higher port, at equal ports the higher address; in ICMP it is who asks, else who sends: the client, as
 * long as nobody saw a SYN, and the same one at every interface.
 */
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
	if (!packet->is_tunnelled)
		return;
	kni_swap_if(mask, &id->outer[0][0], &id->outer[1][0]);
	kni_swap_if(mask, &id->outer[0][1], &id->outer[1][1]);
}

/* The n-th key: splitmix64 (Steele, Lea, Flood 2014). The compiler computes it. */
static __always_inline u64 kni_key(u64 n)
{
	u64 x = KNI_SEED + (n + 1) * 0x9e3779b97f4a7c15ull;

	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ull;
	x = (x ^ x >> 27) * 0x94d049bb133111ebull;
	return x ^ x >> 31;
}

/* What IPv6 has more than IPv4: the version itself, and the lower words of its addresses. */
static __always_inline u64 kni_ipv6_sum(const struct kni_identity *id, u64 n)
{
	u64 sum = kni_key(n);

#pragma unroll
	for (u32 side = 0; side < 2; side++) {
		sum += (u32)id->address[side][0] * kni_key(n + 1 + side * 3);
		sum += (id->address[side][0] >> 32) * kni_key(n + 2 + side * 3);
		sum += (u32)id->address[side][1] * kni_key(n + 3 + side * 3);
	}
	return sum;
}

/* half 0 or 1: its keys begin at 16 * half */
static __always_inline u64 kni_half_digest(const struct kni_identity *id, u64 half)
{
	u64 n = 16 * half;
	u64 sum = kni_key(n);

	sum += (id->address[0][1] >> 32) * kni_key(n + 1);
	sum += (id->address[1][1] >> 32) * kni_key(n + 2);
	sum += ((u64)id->port[0] << 16 | id->port[1]) * kni_key(n + 3);
	sum += (u64)id->ifindex * kni_key(n + 4);
	sum += ((u64)id->vni << 8 | id->protocol) * kni_key(n + 5);
	if (id->ip_version == 6)
		sum += kni_ipv6_sum(id, n + 6);
	return sum;
}

/* Neither KNI_FREE nor KNI_GONE. */
static __always_inline u64 kni_digest(const struct kni_identity *id)
{
	return (kni_half_digest(id, 0) & ~0xffffffffull) | kni_half_digest(id, 1) >> 32 | 2;
}

#endif
