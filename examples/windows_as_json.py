"""Closed windows from Kafka as JSON lines: the highest revision of a key is the one that counts.

python examples/windows_as_json.py [BOOTSTRAP]
"""

import json
import sys

from confluent_kafka import Consumer

settings = {"group.id": "my-windows", "auto.offset.reset": "earliest"}
consumer = Consumer({"bootstrap.servers": sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:9092", **settings})
consumer.subscribe(["kubenetinsight.windows"])
newest: dict[bytes | None, int] = {}
while True:
    message = consumer.poll(1)
    if message is None or message.error():
        continue
    row = json.loads(message.value() or b"{}")
    if row["revision"] >= newest.get(message.key(), 0):
        newest[message.key()] = row["revision"]
        print(json.dumps(row), flush=True)
