/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Nanoseconds to how they are kept: a point in time as 32 bits of 64 ns, a duration as 16 bits of exponent and mantissa.
 */
#ifndef KNI_DURATIONS_H
#define KNI_DURATIONS_H

static __always_inline u32 kni_in_64_ns(u64 ns)
{
	return ns >> 6;
}

/* The time between two such readings; 0 where a capture runs backwards. */
static __always_inline u64 kni_elapsed_ns(u32 from, u32 to)
{
	s32 elapsed = to - from;

	return elapsed > 0 ? (u64)elapsed << 6 : 0;
}

static __always_inline u64 kni_at_most_u32(u64 ns)
{
	return ns > 0xffffffffull ? 0xffffffffull : ns;
}

/*
 * 1 where a is greater, else 0; both less than 2^63. By arithmetic, which the compiler must not see through: behind each
 * branch the verifier would follow both ways to all that comes.
 */
static __always_inline u64 kni_is_greater(u64 a, u64 b)
{
	u64 difference = b - a;

	asm volatile("" : "+r"(difference));
	return difference >> 63;
}

/* 5 bits exponent, 11 bits mantissa: exact to 0.05 % */
static __always_inline u16 kni_to_float16(u64 ns)
{
	u64 exponent = 0;

#pragma unroll
	for (u32 bits = 16; bits; bits >>= 1) {
		u64 step = bits * kni_is_greater(ns >> (10 + bits), 0);

		ns >>= step;
		exponent += step;
	}
	return exponent << 11 | ns;
}

static __always_inline u64 kni_from_float16(u16 float16)
{
	return (u64)(float16 & 2047) << (float16 >> 11);
}

#endif
