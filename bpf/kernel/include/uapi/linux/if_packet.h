/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Included by the compiler front end; nothing of it is used here. */
