"""First light: what the pipeline assumes of the instrument, held against raw files."""
