"""Which calibrators transit in which tile, and which caltables a tile may use: known before any job runs.

Only arithmetic on the index: no file is opened. A tile's phase centre (the meridian at its mid-time, ICRS)
gives the hour angle of a calibrator directly; ICRS right ascensions are compared, which is right to a few
seconds of time, the tilt of the frames since J2000 across half a beam.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from contimg.calibrate.options import CalibrationOptions
from contimg.core.angles import wrap_deg
from contimg.core.constants import REFERENCE_HZ
from contimg.core.names import SIDEREAL_DAY, caltable_dir, strip_dec
from contimg.index.tile import Tile
from contimg.sky.calibrators import Calibrator
from contimg.telescope.options import BeamOptions

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


def transit_mjd(tile: Tile, ra_deg: float) -> float:
    """Instant (MJD UTC) of the transit of an ICRS right ascension that is nearest to a tile's middle."""
    return tile.mid_mjd - wrap_deg(tile.ra_icrs_deg - ra_deg) / _DEG_PER_DAY


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
        `min_flux_jy` is the least apparent flux, `min_pb` the least power of the beam and `search_radius_deg` the
        farthest from the pointing centre.
    beam : BeamOptions
        The primary beam, which makes fluxes apparent.

    Returns
    -------
    list of Transit
    """
    from contimg.telescope.beam import load_beam

    pattern = load_beam(beam)
    found = []
    for tile in tiles:
        for calibrator in calibrators:
            instant = transit_mjd(tile, calibrator.ra_deg)
            if not tile.holds(instant):
                continue
            offset = calibrator.dec_deg - tile.dec_icrs_deg
            power = float(pattern.power(0.0, math.radians(offset), 0.0, REFERENCE_HZ)[0])
            apparent = calibrator.flux_jy * power
            if power < options.min_pb or abs(offset) > (options.search_radius_deg or 90.0):
                continue
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
    goes to the best transit on the other side of the tile where all of the best are on one. Where `tables` names some,
    they alone are the candidates, in its order.
    """
    strip = strip_dec(tile.dec_deg)
    if options.tables:
        known = {transit.cal_dir: transit for transit in transits}
        return [known[path] for path in options.tables if path in known]
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
