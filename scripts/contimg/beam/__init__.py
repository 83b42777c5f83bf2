"""The primary beam, measured from the sky: rule `beam_measure`."""
