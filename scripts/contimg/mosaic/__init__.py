"""Tiles of a sidereal window on one grid: rule `mosaic_window`."""
