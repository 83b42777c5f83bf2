"""Which calibrators transit in which tile, and which caltables a tile may use: known before any job runs.

Only arithmetic on the index: no file is opened. A tile's phase centre (the meridian at its mid-time, ICRS)
gives the hour angle of a calibrator directly; ICRS right ascensions are compared, which is right to a few
seconds of time, the tilt of the frames since J2000 across half a beam.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from contimg.calibrators import REFERENCE_HZ, Calibrator
from contimg.config import BeamOptions, CalibrationOptions
from contimg.index import Tile
from contimg.names import SIDEREAL_DAY, caltable_dir, strip_dec

_DEG_PER_DAY = 360.0 / SIDEREAL_DAY


@dataclass(frozen=True)
class Transit:
    """A calibrator crossing the meridian of a strip while one of its tiles was taken."""

    tile: str
    calibrator: Calibrator
    mjd: float  # UTC instant of transit
    dec_offset_deg: float  # calibrator minus pointing centre, at transit
    beam: float  # primary-beam power at transit, 1.4 GHz
    apparent_jy: float  # catalogue flux times beam

    @property
    def cal_dir(self) -> str:
        return caltable_dir(self.tile, self.calibrator.name)


def wrap_deg(angle_deg: float) -> float:
    """Angle brought to [-180, 180) degrees."""
    return (angle_deg + 180.0) % 360.0 - 180.0


def transit_mjd(tile: Tile, ra_deg: float) -> float:
    """Instant (MJD UTC) of the transit of an ICRS right ascension that is nearest to a tile's middle."""
    return tile.mid_mjd - wrap_deg(tile.ra_icrs_deg - ra_deg) / _DEG_PER_DAY


def end_mjd(tile: Tile) -> float:
    """End of a tile's last integration, MJD UTC."""
    return tile.start_mjd + tile.n_times * tile.integration_s / 86400.0


def holds(tile: Tile, instant_mjd: float) -> bool:
    """Whether an instant falls between the start of a tile's first and the end of its last integration."""
    return tile.start_mjd <= instant_mjd < end_mjd(tile)


def find_transits(
    tiles: Iterable[Tile],
    calibrators: Sequence[Calibrator],
    options: CalibrationOptions,
    beam: BeamOptions,
) -> list[Transit]:
    """Every transit bright enough to calibrate with, in order of time.

    Parameters
    ----------
    tiles : iterable of Tile
        Complete tiles of any strips.
    calibrators : sequence of Calibrator
        The catalogue.
    options : CalibrationOptions
        `min_flux_jy` is the least apparent flux.
    beam : BeamOptions
        The primary beam, which makes fluxes apparent.

    Returns
    -------
    list of Transit
    """
    from contimg.beam import load_beam

    pattern = load_beam(beam)
    found = []
    for tile in tiles:
        for calibrator in calibrators:
            instant = transit_mjd(tile, calibrator.ra_deg)
            if not holds(tile, instant):
                continue
            offset = calibrator.dec_deg - tile.dec_icrs_deg
            power = float(pattern.power(0.0, math.radians(offset), 0.0, REFERENCE_HZ)[0])
            apparent = calibrator.flux_jy * power
            if apparent >= options.min_flux_jy:
                found.append(Transit(tile.name, calibrator, instant, offset, power, apparent))
    return sorted(found, key=lambda transit: (transit.mjd, transit.calibrator.name))


def rank(
    tile: Tile, transits: Iterable[Transit], tiles: dict[str, Tile], options: CalibrationOptions
) -> list[Transit]:
    """Caltable candidates of a tile, best first.

    Of the transits of the tile's strip no further than `valid_hours` from its middle, those with the
    highest ``apparent_jy / (1 + |dt| / closeness_hours)``: S/N grows with the apparent flux, and the phases
    that a table carries age with time. Ties go to the nearer, then the earlier. With `interpolate` the last place
    goes to the best transit on the other side of the tile where all of the best are on one.
    """
    strip = strip_dec(tile.dec_deg)
    scored = []
    for transit in transits:
        hours = abs(transit.mjd - tile.mid_mjd) * 24.0
        if hours > options.valid_hours or strip_dec(tiles[transit.tile].dec_deg) != strip:
            continue
        score = transit.apparent_jy / (1.0 + hours / options.closeness_hours)
        scored.append((-score, hours, transit.mjd, transit.calibrator.name, transit))
    ranked = [entry[-1] for entry in sorted(scored, key=lambda entry: entry[:4])]
    best, rest = ranked[: options.max_candidates], ranked[options.max_candidates :]
    if options.interpolate and len(best) > 1:
        before = [transit.mjd < tile.mid_mjd for transit in best]
        across = [transit for transit in rest if (transit.mjd < tile.mid_mjd) is not before[0]]
        if len(set(before)) == 1 and across:
            best[-1] = across[0]
    return best
