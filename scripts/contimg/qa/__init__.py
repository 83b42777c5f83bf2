"""Verdicts on tiles and mosaics, and the page of the night: rules `qa_tile`, `qa_mosaic`, `qa_night`."""
