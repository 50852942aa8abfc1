"""A small Kubernetes-like cluster to watch: nodes, pods, services and traffic in network namespaces of this machine."""
