"""Caltables, interpolated between transits and applied."""
