"""The tiles, transits and mosaics of a range, and the manifest that jobs read."""
