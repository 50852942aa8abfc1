/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* The loader asks whether the kernel has BPF at all. */
#define CONFIG_BPF_SYSCALL 1
