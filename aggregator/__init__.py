"""Kafka to ClickHouse: identifies both ends of each flow as of its own time, folds it into windows, writes it once."""
