"""The sky in the visibilities of a drifting tile: predicted, found, fitted, subtracted."""
