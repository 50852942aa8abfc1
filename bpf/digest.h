/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * A conversation's identity to 63 bits, and a bucket to the place that bears them.
 *
 * The digest is a conversation's only identity on the packets' path, and who sends packets chooses what is hashed. So it
 * is multilinear hashing (Carter and Wegman; Lemire and Kaser, "Strongly universal string hashing is fast", 2014): the sum
 * of 32-bit words times secret 64-bit keys. Of each of two such sums the upper 32 bits are taken: two different
 * conversations meet with probability 2^-32 in each half, whatever they are, to who does not know the seed.
 */
#ifndef KNI_DIGEST_H
#define KNI_DIGEST_H

#include "table.h"

#ifndef KNI_SEED
#define KNI_SEED 0x9ae16a3b2f90404full /* the loader gives 64 random bits */
#endif

/* The n-th key: splitmix64 (Steele, Lea, Flood 2014). The compiler computes it. */
static __always_inline u64 kni_key(u64 n)
{
	u64 x = KNI_SEED + (n + 1) * 0x9e3779b97f4a7c15ull;

	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ull;
	x = (x ^ x >> 27) * 0x94d049bb133111ebull;
	return x ^ x >> 31;
}

static __always_inline u64 kni_word_sum(u64 words, u64 n)
{
	return (u32)words * kni_key(n) + (words >> 32) * kni_key(n + 1);
}

/* half 0 or 1: its keys begin at 16 * half */
static __always_inline u64 kni_half_digest(const struct kni_identity *id, u64 half)
{
	u64 n = 16 * half;
	u64 sum = kni_key(n);

	sum += kni_word_sum(id->address[0][1], n + 1) + kni_word_sum(id->address[1][1], n + 3);
	sum += kni_word_sum((u64)id->ifindex << 32 | (u32)id->port[0] << 16 | id->port[1], n + 5);
	sum += kni_word_sum((u64)id->ip_version << 32 | id->vni << 8 | id->protocol, n + 7);
	if (id->ip_version == 6)
		sum += kni_word_sum(id->address[0][0], n + 9) + kni_word_sum(id->address[1][0], n + 11);
	return sum;
}

/* Neither KNI_FREE nor KNI_GONE. */
static __always_inline u64 kni_digest(const struct kni_identity *id)
{
	return (kni_half_digest(id, 0) & ~0xffffffffull) | kni_half_digest(id, 1) >> 32 | 2;
}

/*
 * 1 + the last way whose tag it is; 0: none. Without a branch, or the verifier walks seven copies of all that follows.
 */
static __always_inline u64 kni_match(const struct kni_bucket *bucket, u64 tag)
{
	u64 found = 0;

#pragma unroll
	for (u64 way = 0; way < KNI_WAYS; way++) {
		u64 difference = bucket->tag[way] ^ tag;
		u64 same = ((difference | -difference) >> 63) - 1;

		found = (found & ~same) | (same & (way + 1));
	}
	/* Clang proves the bound and drops the check behind; the verifier needs it. */
	asm volatile("" : "+r"(found));
	return found;
}

#endif
