"""One machine to a whole system: embedded Kafka and ClickHouse, and the order in which everything starts and stops."""
