/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * What drop_monitor.c and collector/drop_rotation.py share: keys, sums and counters of the drop
 * maps.
 *
 * The rules of records.h hold here too: u8 … u64 and arrays, padding explicit and zero; it includes
 * nothing.
 */
#ifndef KNI_DROP_TABLE_H
#define KNI_DROP_TABLE_H

/* What a drop is filed under. Addresses, ports and units are those of struct kni_drop_record. */
struct kni_drop_key {
	u64 location;
	u8 src_addr[16];
	u8 dst_addr[16];
	u32 reason;
	u32 netns;
	u32 ifindex;
	u16 src_port;
	u16 dst_port;
	u8 protocol;
	u8 ip_version;
	u8 reserved[6];
};

_Static_assert(sizeof(struct kni_drop_key) == 64, "the rotation copies keys as 64 bytes");

struct kni_drop_sum {
	u64 packets;
	u64 bytes;
	u64 time_start_ns;
	u64 time_end_ns;
	u64 tcp_flags; /* or'ed; 64 bits because the kernel's atomic operations have no smaller ones
			*/
};

_Static_assert(sizeof(struct kni_drop_sum) == 40, "the rotation reads sums as 40 bytes");

/* Every dropped sk_buff is counted in exactly one of these. */
enum kni_drop_class {
	KNI_DROP_ATTRIBUTED = 0, /* went into a drop map */
	KNI_DROP_UNATTRIBUTED = 1, /* no network namespace is known: it had no device and no socket */
	KNI_DROP_UNWATCHED = 2, /* of a namespace that is not this node's */
	KNI_DROP_NOT_IP = 3, /* of this node, without an IP header that can be read */
	KNI_DROP_MAP_FULL = 4, /* of this node, but the drop map had no place */
	KNI_DROP_CLASSES = 5,
};

struct kni_drop_totals {
	u64 frames[KNI_DROP_CLASSES]; /* sk_buffs */
	u64 packets[KNI_DROP_CLASSES]; /* segments of super-packets */
	u64 bytes[KNI_DROP_CLASSES]; /* sk_buff length */
};

/* One sweep of the resting map: user space writes jobs and zeroes this, sweep_drops runs `jobs`
 * times. */
struct kni_drop_sweep {
	u64 next; /* the job that the next run takes */
	u64 moved; /* entries that went to the ring */
	u64 refused; /* entries that stayed, because the ring was full */
};

#define KNI_CALL_SITE_BYTES 96

/* Where in the kernel, as the kernel itself prints it: "symbol+0x12/0x345 [module]", zero-padded.
 */
struct kni_call_site {
	char text[KNI_CALL_SITE_BYTES];
};

enum kni_watched {
	KNI_WATCHED_NODE = 1, /* the node's own namespace: interface indices name something */
	KNI_WATCHED_POD = 2,
};

#endif
