"""Where the iteration of a fit of sources to visibilities is: which parameters are free, and steps in them.

The method is described in `contimg.drift.fit`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contimg.drift import shape
from contimg.drift.normal import EAST, EAST_EAST, EAST_NORTH, FLUX, KINDS, NORTH, NORTH_NORTH, SLOPE
from contimg.drift.predict import PointSources

Array = NDArray[Any]
LARGEST_INDEX = 5.0
"""Spectral indices stay within this."""
FWHM_PER_SIGMA = 2.3548
WIDTHS = (EAST_EAST, EAST_NORTH, NORTH_NORTH)
MOST_NARROW = 2
"""A width that so many steps took below zero is held there."""


@dataclass(frozen=True)
class FitOptions:
    """How sources are fitted."""

    slope_snr: float = 60.0  # a spectral index is free above this S/N: its error is then 0.4
    band_snr: float = 20.0  # above this S/N the table tells what the band says of the slope, free or held
    place_snr: float = 30.0  # a place is free above this S/N: its error is then 1/70 of a beam
    shape_snr: float = 0.0  # what is no point gets a shape above this S/N, as a point
    default_index: float = -0.7  # the spectral index of sources that have none
    probes: int = 0  # places at which to look how much of a source in no model the parameters take up
    clip_sigma: float = 6.0  # visibilities: 1.5e-8 of normal ones are beyond
    clip_row_sigma: float = 8.0  # rows
    uvmin_klambda: float = 0.0  # shorter baselines are left out
    max_passes: int = 10
    converged_sigma: float = (
        0.1  # every step is less than this part of its error; what is left is a third of it
    )


@dataclass
class State:
    """Where the iteration is."""

    sources: PointSources
    start: PointSources
    snr: Array  # (nsrc,)
    hold_place: Array  # (nsrc,), bool: the fit ran away from where the source was said to be
    sloped: Array  # (nsrc,), bool: the spectral index is free
    placed: Array  # (nsrc,), bool: the place is free
    narrow: Array  # (nsrc,), int: steps that took a width below zero
    parameters: tuple[Array, Array] = (np.zeros(0, int), np.zeros(0, int))
    covariance: Array = field(default_factory=lambda: np.zeros((0, 0)))

    @property
    def wide(self) -> Array:
        """Which sources have a size, (nsrc,)."""
        return np.asarray(self.sources.widths.any(axis=1))

    @property
    def may_widen(self) -> Array:
        """Which could be given one, (nsrc,): a size that went below zero before is not tried again."""
        return ~self.wide & (self.narrow < MOST_NARROW)

    def widen(self, chosen: Array, fwhm_arcsec: Array) -> None:
        """Give the sources chosen (nsrc,) a size to begin with."""
        circle = shape.widths_of(fwhm_arcsec, fwhm_arcsec, np.zeros(len(fwhm_arcsec)))
        self.sources = replace(
            self.sources, widths=np.where(chosen[:, np.newaxis], circle, self.sources.widths)
        )

    @classmethod
    def begin(cls, start: PointSources, snr: Array | None = None) -> State:
        """Where an iteration starts; `snr` (nsrc,) of an earlier fit, where there was one."""
        n_src = len(start)
        no = np.zeros(n_src, bool)
        known = np.zeros(n_src) if snr is None else snr
        return cls(start, start, known, no, no.copy(), no.copy(), np.zeros(n_src, int))

    def flatten(self, chosen: Array) -> None:
        """Make points of the sources chosen (nsrc,), for good."""
        self.sources = replace(self.sources, widths=np.where(chosen[:, np.newaxis], 0.0, self.sources.widths))
        self.narrow[chosen] = MOST_NARROW

    def trace_errors(self) -> Array:
        """Errors of the sums of the squared axes of Gaussians (east-east and north-north), rad², (nsrc,); else NaN."""
        found = np.full(len(self.sources), np.nan)
        source, kind = self.parameters
        for s in np.unique(source[kind == EAST_EAST]):
            two = np.flatnonzero((source == s) & np.isin(kind, (EAST_EAST, NORTH_NORTH)))
            found[s] = np.sqrt(self.covariance[np.ix_(two, two)].sum()) / self.sources.flux_jy[s]
        return found

    def free(self, options: FitOptions, *, flux_only: bool) -> tuple[Array, Array]:
        """Source and kind of every free parameter."""
        n_src = len(self.sources)
        source, kind = [np.arange(n_src)], [np.full(n_src, FLUX)]
        if not flux_only:
            # once free, a parameter stays so down to half of the limit: the set must come to rest
            self.sloped = self.snr >= options.slope_snr * np.where(self.sloped, 0.5, 1.0)
            self.placed = self.snr >= options.place_snr * np.where(self.placed, 0.5, 1.0)
            steep = np.flatnonzero(self.sloped)
            place = np.flatnonzero(self.placed & ~self.hold_place)
            wide = np.flatnonzero(self.wide & (self.narrow < MOST_NARROW))
            source += [steep, place, place, wide, wide, wide]
            kind += [np.full(len(steep), SLOPE), np.full(len(place), EAST), np.full(len(place), NORTH)]
            kind += [np.full(len(wide), width) for width in WIDTHS]
        return np.concatenate(source), np.concatenate(kind)

    def errors(self, kind: int) -> Array:
        """Errors of one kind of parameter, (nsrc,), all but FLUX still times the flux; NaN where it is not free."""
        found = np.full(len(self.sources), np.nan)
        source, kinds = self.parameters
        found[source[kinds == kind]] = np.sqrt(np.diag(self.covariance)[kinds == kind])
        return found

    def shift(self, before: PointSources) -> float:
        """How far a free place is from where it was, at most, in units of a beam / 2.35."""
        ra = (self.sources.ra_rad - before.ra_rad) * np.cos(before.dec_rad)
        dec = self.sources.dec_rad - before.dec_rad
        errors = (self.errors(EAST), ra), (self.errors(NORTH), dec)
        parts = [np.abs(moved) * self.errors(FLUX) / error for error, moved in errors]
        return float(np.nanmax(np.nan_to_num(parts), initial=0.0))

    def move(self, step: Array) -> None:
        """Take a step in the free parameters, no longer than the model is linear."""
        source, kind = self.parameters
        full = np.zeros((KINDS, len(self.sources)))
        full[kind, source] = step
        now = self.sources
        flux = now.flux_jy + full[FLUX]
        sloped = np.zeros(len(now), bool)
        sloped[source[kind == SLOPE]] = True
        change = np.divide(full[SLOPE], flux, out=np.zeros(len(now)), where=sloped & (flux > 0))
        index = np.clip(now.spectral_index + np.clip(change, -1.0, 1.0), -LARGEST_INDEX, LARGEST_INDEX)
        # over this scale, a beam / 2.35, the fringes of the baselines stay together
        placed = np.zeros(len(now), bool)
        placed[source[kind == EAST]] = True
        ra, dec = now.ra_rad.copy(), now.dec_rad.copy()
        for this, axis in ((EAST, ra), (NORTH, dec)):
            scale = np.where(placed, self.errors(this) / self.errors(FLUX), 0.0)
            moved = np.divide(full[this], flux, out=np.zeros(len(now)), where=placed & (flux > 0))
            moved = np.clip(moved, -0.5 * scale, 0.5 * scale)
            axis += moved / np.cos(now.dec_rad) if this == EAST else moved
            origin = self.start.ra_rad if this == EAST else self.start.dec_rad
            gone = np.abs(axis - origin) * (np.cos(now.dec_rad) if this == EAST else 1.0)
            self.hold_place |= placed & (gone > FWHM_PER_SIGMA * scale)
        ra, dec = (
            np.where(self.hold_place, first, found)
            for first, found in ((self.start.ra_rad, ra), (self.start.dec_rad, dec))
        )
        widths, wide = now.widths.copy(), np.zeros(len(now), bool)
        wide[source[kind == EAST_EAST]] = True
        wide &= flux > 0
        step = (full[list(WIDTHS)] / np.where(wide, flux, 1.0)).T[wide]
        widths[wide], below = shape.moved(widths[wide], step)
        self.narrow[wide] += below
        self.sources = replace(now, flux_jy=flux, spectral_index=index, ra_rad=ra, dec_rad=dec, widths=widths)
