"""Which calibrators transit in which tile, and which caltables a tile may use: known before any job runs.

Only arithmetic on the index: no file is opened. A tile's phase centre (the meridian at its mid-time, ICRS)
gives the hour angle of a calibrator directly; ICRS right ascensions are compared, which is right to a few
seconds of time, the tilt of the frames since J2000 across half a beam.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from contimg.calibrate.options import CalibrationOptions
from contimg.core.angles import wrap_deg
from contimg.core.constants import REFERENCE_HZ
from contimg.core.names import SIDEREAL_DAY, caltable_dir, strip_dec
from contimg.index.tile import Tile
from contimg.sky.a_team import A_TEAM
from contimg.sky.calibrators import Calibrator
from contimg.telescope.options import BeamOptions

if TYPE_CHECKING:
    from contimg.telescope.beam import PowerBeam

A_TEAM_RADIUS_DEG = 25.0
"""Beyond, less than 1e-4 of them comes through."""

VARIABLE_SHARE = 0.5
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
    a_team_jy: float = 0.0  # what comes through of the A-team at that moment

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
                disturbing = disturbing_jy(calibrator, tile.dec_icrs_deg, pattern)
                found.append(Transit(tile.name, calibrator, instant, offset, power, apparent, disturbing))
    return sorted(found, key=lambda transit: (transit.mjd, transit.calibrator.name))


def disturbing_jy(calibrator: Calibrator, pointing_dec_deg: float, pattern: PowerBeam) -> float:
    """Apparent flux of the A-team while the calibrator is on the meridian, Jy: main beam and near sidelobes."""
    total = 0.0
    for ra_deg, dec_deg, flux_jy in A_TEAM.values():
        if abs(dec_deg - pointing_dec_deg) > A_TEAM_RADIUS_DEG:
            continue
        west = math.radians(wrap_deg(calibrator.ra_deg - ra_deg))
        dec, pointing = math.radians(dec_deg), math.radians(pointing_dec_deg)
        away = math.acos(
            min(1.0, math.sin(dec) * math.sin(pointing) + math.cos(dec) * math.cos(pointing) * math.cos(west))
        )
        if away <= math.radians(A_TEAM_RADIUS_DEG):
            total += flux_jy * float(pattern.power(0.0, away, 0.0, REFERENCE_HZ)[0])
    return total


def worth(transit: Transit) -> float:
    """Apparent flux as a calibrator, Jy: less where the A-team comes through, half where the flux is known to vary.

    Neighbours are modelled to some third of their flux at worst, so S / (1 + 3 A / S), A the A-team's apparent flux.
    """
    disturbed = 1.0 + 3.0 * transit.a_team_jy / transit.apparent_jy
    return transit.apparent_jy / disturbed * (VARIABLE_SHARE if transit.calibrator.variable else 1.0)


def rank(
    tile: Tile, transits: Iterable[Transit], tiles: dict[str, Tile], options: CalibrationOptions
) -> list[Transit]:
    """Caltable candidates of a tile, best first.

    Of the transits of the tile's strip no further than `valid_hours` from its middle, those with the
    highest ``worth / (1 + |dt| / closeness_hours)``: S/N grows with the apparent flux, and the phases that a table
    carries age with time; `worth` counts neighbours and variability. Ties go to the nearer, then the earlier. With
    `interpolate` the last place goes to the best transit on the other side of the tile where all of the best are on
    one. Where `tables` names some, they alone are the candidates, in its order. With `mode` field only whole fields are
    candidates, with transit only transits, with auto fields where there is no transit.
    """
    strip = strip_dec(tile.dec_deg)
    if options.tables:
        known = {transit.cal_dir: transit for transit in transits}
        return [known[path] for path in options.tables if path in known]
    scored = []
    near = [
        transit
        for transit in transits
        if abs(transit.mjd - tile.mid_mjd) * 24.0 <= options.valid_hours
        and strip_dec(tiles[transit.tile].dec_deg) == strip
    ]
    single = any(not transit.calibrator.is_field for transit in near)
    on_field = options.mode == "field" or (options.mode == "auto" and not single)
    for transit in near:
        if transit.calibrator.is_field is not on_field:
            continue
        hours = abs(transit.mjd - tile.mid_mjd) * 24.0
        score = worth(transit) / (1.0 + hours / options.closeness_hours)
        scored.append((-score, hours, transit.mjd, transit.calibrator.name, transit))
    ranked = [entry[-1] for entry in sorted(scored, key=lambda entry: entry[:4])]
    best, rest = ranked[: options.max_candidates], ranked[options.max_candidates :]
    if options.interpolate and len(best) > 1:
        before = [transit.mjd < tile.mid_mjd for transit in best]
        across = [transit for transit in rest if (transit.mjd < tile.mid_mjd) is not before[0]]
        if len(set(before)) == 1 and across:
            best[-1] = across[0]
    return best
