"""Forced photometry: the brightness of every listed source in every mosaic (docs/photometry.md)."""
