"""Calibrators, reference catalogues, and how a source is measured."""
