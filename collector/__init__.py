"""From the kernel to Kafka: the collector of one node. It knows nothing of Kubernetes."""
