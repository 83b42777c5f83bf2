"""Measurement Sets: their rows, subtables and weights."""
