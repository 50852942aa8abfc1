/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * What BCC puts before a program, as far as the headers under bpf/ use it: for `make check-c-headers` alone. The programs
 * themselves are compiled by BCC in the kernel tests.
 */
#pragma once
#include <linux/bpf.h>

u64 bpf_ktime_get_ns(void);
u64 bpf_ktime_get_coarse_ns(void);
long bpf_probe_read_kernel(void *target, u32 size, const void *source);
long bpf_skb_pull_data(struct __sk_buff *buffer, u32 length);
u64 bpf_jiffies64(void);
