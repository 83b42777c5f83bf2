"""Planes of FITS images."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from contimg.core.errors import InputError


def read_plane(path: Path) -> np.ndarray:
    """Read a FITS image as a native float32 plane (ny, nx), without leading axes of length 1."""
    from astropy.io import fits

    try:
        with fits.open(path, memmap=False) as hdus:
            data = hdus[0].data
    except (OSError, ValueError, TypeError) as error:
        raise InputError(
            f"{path}: expected a readable FITS image, found {error}: make the tile again"
        ) from error
    plane = data.reshape(data.shape[-2:]) if data.size == data.shape[-1] * data.shape[-2] else None
    if plane is None:
        raise InputError(f"{path}: expected one plane, found shape {data.shape}: make the tile again")
    return plane.astype(np.float32)
