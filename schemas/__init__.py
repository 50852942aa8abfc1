"""Everything that crosses a process boundary: topics, Arrow batches, ClickHouse tables. No program's code."""
