"""Batches over REST: a thin window on the products tree and its workflow. It holds no truth but its job list."""
