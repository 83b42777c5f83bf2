"""What the benchmarks share: run a command and know its cost, the full tile, rivals and floors, the report."""
