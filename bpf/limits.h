/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * How much is kept and for how long: what the loader may set, each with its default.
 */
#ifndef KNI_LIMITS_H
#define KNI_LIMITS_H

#ifndef KNI_CONVERSATIONS
#define KNI_CONVERSATIONS 65536 /* expected at once; a power of two; there are places for 3.5 times as many */
#endif
#define KNI_BUCKETS (KNI_CONVERSATIONS / 2)
#define KNI_PLACES  (KNI_BUCKETS * KNI_WAYS)

_Static_assert((KNI_BUCKETS & (KNI_BUCKETS - 1)) == 0, "a digest's bits choose the bucket");

#ifndef KNI_RING_BYTES
#define KNI_RING_BYTES 16777216
#endif
#ifndef KNI_SLOTS
#define KNI_SLOTS 512 /* interfaces watched at once, and slot 0 */
#endif
#define KNI_INLINE_SLOTS 65536
#if KNI_CONVERSATIONS > 65536
#define KNI_SEGMENTS KNI_CONVERSATIONS
#else
#define KNI_SEGMENTS 65536 /* under way at once, of all conversations */
#endif
#define KNI_TIMED_ENDS 8 /* of a super-packet's segments, the last one among them */
#ifndef KNI_BUSY_SEGMENTS
#define KNI_BUSY_SEGMENTS 1024 /* of a CPU in a jiffy; after more, in the next one, */
#endif
#define KNI_TIMED_SHARE 8 /* one in so many is timed; a power of two */
#ifndef KNI_ACTIVE_TIMEOUT_NS
#define KNI_ACTIVE_TIMEOUT_NS 1000000000ull
#endif
#define KNI_PAUSE_NS 5000000ull /* no export is tried so long after the ring was full */
#ifndef KNI_SEED
#define KNI_SEED 0x9ae16a3b2f90404full /* the loader gives 64 random bits */
#endif

#endif
