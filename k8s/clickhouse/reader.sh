#!/bin/sh
# Runs once, when ClickHouse's data directory is new: the user that people and Grafana read as. It may read and nothing else,
# within limits that keep one question from taking the server.
set -eu
password=$(cat /run/secrets/clickhouse-reader)
clickhouse-client --user "$CLICKHOUSE_USER" --password "$(cat /run/secrets/clickhouse-writer)" --multiquery <<SQL
CREATE USER IF NOT EXISTS kubenetinsight_reader IDENTIFIED WITH sha256_password BY '$password'
    SETTINGS readonly = 2, max_execution_time = 60 MAX 600, max_memory_usage = 4000000000, max_rows_to_read = 10000000000;
GRANT SELECT ON kubenetinsight.* TO kubenetinsight_reader;
CREATE QUOTA IF NOT EXISTS kubenetinsight_reader FOR INTERVAL 1 minute MAX queries = 1200, read_rows = 50000000000 TO kubenetinsight_reader;
SQL
