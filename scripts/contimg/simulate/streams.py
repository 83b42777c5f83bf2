"""Independent random streams: each thing that is random draws from its own, so that none shifts another."""

from __future__ import annotations

from enum import IntEnum

import numpy as np


class Stream(IntEnum):
    """What a random stream is for."""

    FIELD = 1
    GAINS = 2
    NOISE = 3
    CLOCK = 4
    LINES = 5
    BURSTS = 6
    GARBAGE = 7
    FAR = 8
    BAND = 9
    SCREEN = 10
    REFRACTION = 11
    BACKGROUND = 12
    SHAPE = 13
    RECEIVER = 14


def generator(seed: int, stream: Stream, *keys: int) -> np.random.Generator:
    """Return the generator of one stream; `keys` (0 or more each) tell antennas, tiles or subbands apart."""
    return np.random.default_rng(np.random.SeedSequence([seed, int(stream), *keys]))
