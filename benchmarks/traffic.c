/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Packets made in the kernel, for what stands in front of this file in the same compilation: each run rewrites its frame
 * (64 bytes or more of Ethernet, IPv4, TCP) to a random one of many conversations, data and acknowledgements by turns.
 */
struct traffic {
	u64 random; /* state of xorshift64, not 0 */
	u32 packets;
	u32 conversations; /* a power of two */
	u32 has_flags; /* SYN, SYN/ACK, FIN/ACK, RST/ACK at random, one packet in 64 */
	u32 reserved;
};

BPF_PERCPU_ARRAY(traffic, struct traffic, 1);
BPF_ARRAY(ends, u32, 65536); /* where the data of a conversation ended */
BPF_ARRAY(sent, u64, 65536); /* packets by conversation; only with has_flags, which is for tests of exactness */

static __always_inline u32 next_random(struct traffic *state)
{
	u64 x = state->random;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	state->random = x;
	return x >> 20;
}

static __always_inline void write_data(u8 *frame, u32 conversation, u32 *end)
{
	*(u32 *)(frame + 26) = 0x0100000a + (conversation >> 16 << 16);
	*(u32 *)(frame + 30) = 0x0200640a;
	*(u16 *)(frame + 34) = conversation;
	*(u16 *)(frame + 36) = 0xbb01;
	*(u32 *)(frame + 38) = __builtin_bswap32(*end);
	*(u32 *)(frame + 42) = 1;
	*(u16 *)(frame + 16) = 50 << 8;
	frame[47] = 0x18;
	*end += 10;
}

static __always_inline void write_ack(u8 *frame, u32 conversation, const u32 *end)
{
	*(u32 *)(frame + 26) = 0x0200640a;
	*(u32 *)(frame + 30) = 0x0100000a + (conversation >> 16 << 16);
	*(u16 *)(frame + 34) = 0xbb01;
	*(u16 *)(frame + 36) = conversation;
	*(u32 *)(frame + 42) = __builtin_bswap32(*end);
	*(u16 *)(frame + 16) = 40 << 8;
	frame[47] = 0x10;
}

static __always_inline void write_flags(struct traffic *state, u8 *frame, u32 conversation)
{
	u32 chance = state->random >> 52 & 255;
	u64 *count = sent.lookup(&conversation);

	if (count)
		__sync_fetch_and_add(count, 1);
	if (chance < 4)
		frame[47] = (u8)(0x14111202 >> (chance * 8));
}

/* Returns whether there is a packet. */
static __always_inline u32 make_packet(void *start, void *end)
{
	u32 zero = 0;
	struct traffic *state = traffic.lookup(&zero);

	if (!state || start + 64 > end)
		return 0;
	u32 conversation = next_random(state) & (state->conversations - 1);
	u32 *data_end = ends.lookup(&conversation);

	if (!data_end)
		return 0;
	if (state->packets++ & 1)
		write_data(start, conversation, data_end);
	else
		write_ack(start, conversation, data_end);
	if (state->has_flags)
		write_flags(state, start, conversation);
	return 1;
}

int xdp_empty(struct xdp_md *context)
{
	return make_packet((void *)(long)context->data, (void *)(long)context->data_end) ? XDP_PASS : XDP_DROP;
}

int tc_empty(struct __sk_buff *context)
{
	return make_packet((void *)(long)context->data, (void *)(long)context->data_end) ? TC_ACT_UNSPEC : 2;
}

int xdp_traffic(struct xdp_md *context)
{
	if (make_packet((void *)(long)context->data, (void *)(long)context->data_end))
		observe_xdp(context);
	return XDP_PASS;
}

int tc_traffic(struct __sk_buff *context)
{
	if (make_packet((void *)(long)context->data, (void *)(long)context->data_end))
		observe_tc(context, KNI_INGRESS);
	return TC_ACT_UNSPEC;
}

/* The baseline: packets and bytes by 5-tuple in the kernel's own hash. */
struct plain_key {
	u32 src, dst;
	u16 src_port, dst_port;
	u32 ifindex_protocol;
};

struct plain_count {
	u64 packets, bytes;
};

BPF_TABLE("hash", struct plain_key, struct plain_count, plain, 131072);

int xdp_plain(struct xdp_md *context)
{
	void *start = (void *)(long)context->data, *end = (void *)(long)context->data_end;
	u8 *frame = start;

	if (!make_packet(start, end) || start + 64 > end)
		return XDP_PASS;
	struct plain_key key = {
		.src = *(u32 *)(frame + 26),
		.dst = *(u32 *)(frame + 30),
		.src_port = *(u16 *)(frame + 34),
		.dst_port = *(u16 *)(frame + 36),
		.ifindex_protocol = context->ingress_ifindex << 8 | frame[23],
	};
	struct plain_count one = { 1, end - start }, *count = plain.lookup(&key);

	if (count) {
		__sync_fetch_and_add(&count->packets, 1);
		__sync_fetch_and_add(&count->bytes, end - start);
	} else {
		plain.update(&key, &one);
	}
	return XDP_PASS;
}
