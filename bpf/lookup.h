/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * A digest to its conversation's place in the table: one of seven in its bucket, or in the bucket beside.
 */
#ifndef KNI_LOOKUP_H
#define KNI_LOOKUP_H

#include "table.h"

struct kni_place {
	struct kni_bucket *bucket; /* at first the digest's own */
	struct kni_bucket *other;
	u64 way; /* 1 + way; 0: none */
	u32 index; /* of the bucket */
};

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

static __always_inline void kni_turn(struct kni_place *place)
{
	struct kni_bucket *bucket = place->bucket;

	place->bucket = place->other;
	place->other = bucket;
	place->index ^= 1;
}

static __always_inline u64 kni_find(struct kni_place *place, u64 digest)
{
	place->way = kni_match(place->bucket, digest);
	if (place->way)
		return place->way;
	kni_turn(place);
	place->way = kni_match(place->bucket, digest);
	return place->way;
}

/*
 * Takes a free place in either bucket, its own first; returns 0 when there is none. *is_new: it was taken here, not by another
 * CPU for the same conversation just before.
 */
static __always_inline u32 kni_claim(struct kni_place *place, u64 digest, u32 *is_new)
{
#pragma unroll
	for (u32 n = 0; n < 2; n++) {
		kni_turn(place);
		place->way = kni_match(place->bucket, KNI_FREE);
		if (place->way - 1 >= KNI_WAYS)
			continue;
		u64 before = __sync_val_compare_and_swap(&place->bucket->tag[place->way - 1], KNI_FREE, digest);

		*is_new = before == KNI_FREE;
		if (*is_new || before == digest)
			return 1;
	}
	return 0;
}

#endif
