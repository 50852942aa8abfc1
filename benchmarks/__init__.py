"""Goals to figures: each a program of its own, `python -m benchmarks.NAME`; all of them, `python -m benchmarks`."""
