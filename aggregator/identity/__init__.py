"""Kubernetes and addresses to who is who: leases as of a time, classes of addresses, and which observation counts."""
