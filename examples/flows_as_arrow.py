"""Flow records from Kafka as Arrow: bytes per server port, added up as they come.

python examples/flows_as_arrow.py [BOOTSTRAP]
"""

import sys
from collections import Counter

import pyarrow as pa
from confluent_kafka import Consumer

settings = {"group.id": "my-flows", "auto.offset.reset": "earliest"}
consumer = Consumer({"bootstrap.servers": sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:9092", **settings})
consumer.subscribe(["kubenetinsight.flows"])
total: Counter[int] = Counter()
while True:
    message = consumer.poll(1)
    if message is None or message.error():
        continue
    batch = pa.ipc.open_stream(message.value()).read_next_batch()
    for row in pa.table(batch).group_by("dst_port").aggregate([("bytes", "sum")]).to_pylist():
        total[row["dst_port"]] += row["bytes_sum"]
        print(total.most_common(5), flush=True)
