"""The primary beam, measured from the sky: rules `beam_tile`, `beam_measure`."""
