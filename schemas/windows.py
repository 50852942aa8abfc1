"""Times and ports to windows: the constants that writers and readers of window tables must share."""

from typing import Final

WINDOW_SECONDS: Final = 10
"""Tumbling, aligned to the Unix epoch; a record belongs to the window of its `time_end`."""

EPHEMERAL_PORT: Final = 32768
"""From this port on a port names no service (Linux `ip_local_port_range`); windows hold 0 in its place."""

LATENCIES: Final = ("handshake", "rtt", "reverse_rtt")
"""The kinds of latency, each with a count, a sum, extremes and a histogram in a row of `window_latency`."""

BUCKETS_PER_OCTAVE: Final = 16
"""Of the latency histograms: the middle of a bucket is at most 1/32 from any value in it."""
