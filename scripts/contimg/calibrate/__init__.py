"""A transit's delays, bandpass and gains: rule `calibrate_transit`."""
