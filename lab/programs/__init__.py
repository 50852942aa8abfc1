"""What runs in the lab's pods: real servers and clients that keep a ledger of what they did. Standard library only."""
