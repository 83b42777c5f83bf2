"""Tiles calibrated on the catalogue's sky: which one, with what error, and what comes out."""

import numpy as np
import pandas as pd
import pytest

from builders.tiles import strip_of_tiles
from contimg.calibrate import ensemble
from contimg.calibrate.options import CalibrationOptions
from contimg.calibrate.transit import solve_transit
from contimg.calibrate.transits import find_transits, rank
from contimg.convert.options import FlaggingOptions
from contimg.convert.tile import PhaseCentre, convert_tile
from contimg.gains.tables import read_gains
from contimg.index.build import build_index
from contimg.ms.sets import read_meta
from contimg.simulate import SimOptions, Source, simulate
from contimg.sky.calibrators import FIELD, Calibrator
from contimg.sky.catalog import Catalog
from contimg.telescope.options import BeamOptions

FLUXES = (0.9, 0.8, 0.7, 0.55, 0.5, 0.4, 0.35, 0.3, 0.25, 0.2, 0.15, 0.1)


def catalogue(path, tiles, at, fluxes=FLUXES, seed=1):
    """A catalogue with a rich field about one tile, and one source of 0.5 Jy at the others."""
    rng = np.random.default_rng(seed)
    east, north = rng.uniform(-0.6, 0.6, (2, len(fluxes)))
    ra, dec = tiles[at].ra_icrs_deg + east, tiles[at].dec_icrs_deg + north
    rows = [(f"S{k}", *row) for k, row in enumerate(zip(ra, dec, fluxes, strict=True))]
    rows += [(f"T{k}", tile.ra_icrs_deg, tile.dec_icrs_deg, 0.5) for k, tile in enumerate(tiles) if k != at]
    table = pd.DataFrame(rows, columns=["name", "ra_deg", "dec_deg", "flux_jy"]).assign(spectral_index=-0.7)
    table.to_csv(path, index=False)
    return Catalog(path)


def candidates(tile, tiles, transits, options):
    by_name = {tile.name: tile for tile in tiles}
    return [transit.calibrator.name for transit in rank(tile, transits, by_name, options)]


def test_a_strip_without_a_calibrator_takes_the_tile_that_has_most_of_the_catalogue(tmp_path):
    tiles = strip_of_tiles(count=40)
    catalog = catalogue(tmp_path / "c.csv", tiles, 25)
    options = CalibrationOptions()
    assert find_transits(tiles, [], options, BeamOptions()) == []
    (field,) = ensemble.find_fields(tiles, catalog, [], options, BeamOptions())
    assert field.tile == tiles[25].name
    assert field.cal_dir.endswith(f"{tiles[25].name}_{FIELD}")
    # √Σ S² = 1.74 Jy, by a beam of 0.7 to 1 over the field
    assert 1.2 < field.apparent_jy < 1.8
    assert "flux scale to" in field.calibrator.origin
    assert candidates(tiles[0], tiles, [field], options) == [FIELD]
    assert ensemble.find_fields(tiles, catalog, [], CalibrationOptions(min_flux_jy=2.0), BeamOptions()) == []


def test_a_transit_goes_before_a_field_unless_the_mode_says_so(tmp_path):
    tiles = strip_of_tiles(count=200)  # 17 h
    catalog = catalogue(tmp_path / "c.csv", tiles, 150)
    known = [Calibrator("A", tiles[10].ra_icrs_deg, 55.1, 8.0, -0.5, "test")]
    found = {}
    for mode in ("auto", "transit", "field"):
        options = CalibrationOptions(mode=mode)
        transits = find_transits(tiles, known, options, BeamOptions())
        fields = ensemble.find_fields(tiles, catalog, transits, options, BeamOptions())
        found[mode] = [candidates(tiles[k], tiles, transits + fields, options) for k in (20, 180)]
    # the transit at the tenth tile is 14.6 h from the 180th: beyond valid_hours
    assert found == {"auto": [["A"], [FIELD]], "transit": [["A"], []], "field": [[FIELD], [FIELD]]}
    served = find_transits(tiles[:100], known, CalibrationOptions(), BeamOptions())
    absent = Catalog(tmp_path / "not read.csv")
    assert ensemble.find_fields(tiles[:100], absent, served, CalibrationOptions(), BeamOptions()) == []


def test_the_error_of_the_scale_is_what_fluxes_that_vary_make_of_it():
    rng = np.random.default_rng(2)
    flux = np.array(FLUXES)
    said = ensemble.describe(flux)
    assert said.strength_jy == pytest.approx(np.sqrt(np.sum(flux**2)))
    # 400 skies whose sources vary by 10 %, on 2000 points of the uv plane: the scale is the best-fitting factor of m
    phases = np.exp(2j * np.pi * rng.uniform(size=(2000, len(flux))))
    model = phases @ flux
    scale = [
        np.vdot(model, phases @ (flux * (1 + 0.1 * rng.normal(size=len(flux))))).real for _ in range(400)
    ]
    error = np.std(np.array(scale) / np.vdot(model, model).real)
    # the standard deviation of 400 is good to 4 %, sidelobes of 2000 points mix sources by 2 %
    assert np.hypot(error, ensemble.SCALE_ERROR) == pytest.approx(said.flux_error, rel=0.15)
    assert ensemble.describe(np.zeros(0)).flux_error == np.inf


@pytest.fixture(scope="module")
def field(tmp_path_factory):
    """A tile at +38, where no calibrator of the list serves: twelve sources of 0.1 to 0.9 Jy over sixteen antennas."""
    folder = tmp_path_factory.mktemp("field")
    rng = np.random.default_rng(4)
    # the first source transits in the middle of the tile, half a degree south of the pointing
    east, north = rng.uniform(-0.8, 0.8, (2, len(FLUXES)))
    east[0], north[0] = 0.0, -0.5
    places = zip(FLUXES, 128.7 + east / np.cos(np.radians(38.0)), 38.1 + north, strict=True)
    options = SimOptions(
        start="2025-10-30",
        transit_of="S0",
        dec_deg=38.0,
        n_integrations=12,
        n_subbands=4,
        n_channels=24,
        antennas=("3", "7", "15", "24", "33", "42", "51", "61", "70", "80", "90", "102", "103", "104", "105", "110"),
        sources=tuple(Source(f"S{k}", ra, dec, flux, -0.7) for k, (flux, ra, dec) in enumerate(places)),
        seed=6,
    )  # fmt: skip
    truth = simulate(options, folder / "raw", threads=1)
    tile = build_index(
        folder / "raw", start_mjd=None, end_mjd=None, min_subbands=1, exclude=(), cache=None
    ).tiles[0]
    convert_tile(
        tile.slots, tile.name, folder / "t.ms", threads=1, flagging=FlaggingOptions(aoflagger=False),
        phase_centre=PhaseCentre(FIELD, tile.ra_icrs_deg, tile.dec_icrs_deg),
    )  # fmt: skip
    for name in ("cal", "scratch"):
        (folder / name).mkdir()
    record = solve_transit(
        folder / "t.ms",
        folder / "cal",
        calibrator=Calibrator(FIELD, tile.ra_icrs_deg, tile.dec_icrs_deg, 1.7, -0.7, "test"),
        others=[
            Calibrator(s.name, s.ra_deg, s.dec_deg, s.flux_jy, s.spectral_index, "test")
            for s in truth.sources
        ],
        options=CalibrationOptions(),
        beam=BeamOptions(),
        scratch=folder / "scratch",
        threads=1,
        log=folder / "casa.log",
    )
    return truth, folder, record


def test_gains_solved_on_a_field_are_the_true_ones_on_the_scale_of_its_catalogue(field):
    truth, folder, record = field
    assert record["reason"] is None
    metrics = record["metrics"]
    assert metrics["field"]["n_sources"] == len(FLUXES)
    assert metrics["identity"] is None
    assert metrics["sefd_jy"] == pytest.approx(6500, rel=0.15)
    meta = read_meta(folder / "t.ms")
    gains = read_gains(folder / "cal", meta)
    names = [antenna.name for antenna in truth.antennas]
    rows = [k for k, name in enumerate(meta.antenna_names) if name in names]
    order = [names.index(meta.antenna_names[k]) for k in rows]
    expected = truth.gains(meta.times_jd - 2400000.5, meta.freq_hz).mean(axis=0)[order].conj()
    good = gains.good[rows]
    assert good.mean() > 0.99
    ratio = gains.at(6)[rows] / expected
    reference = [meta.antenna_names[k] for k in rows].index(metrics["refant"]["name"])
    ratio *= np.exp(-1j * np.angle(ratio[reference]))
    # SEFD 6500 Jy on channels averaged to a subband of 46.9 MHz, 12 × 12.9 s, 15 partners, 1.4 Jy: 1 % of a gain, and
    # half more because the model's power differs from cell to cell; the scale of fluxes to 1 % / √(16 × 4 × 2) and the
    # noise's bias of 2/s², 0.1 %
    noise = 6500 / np.sqrt(2 * 46.9e6 * 12 * 12.9) / 1.4 / np.sqrt(15)
    assert np.std(np.abs(ratio[good])) < 3 * noise
    assert np.std(np.angle(ratio[good])) < 3 * np.sqrt(2) * noise
    assert np.mean(np.abs(ratio[good]) ** 2) == pytest.approx(1.0, abs=0.01)
