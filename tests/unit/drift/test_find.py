"""Sources found in the visibilities of a simulated tile: all that are there, at their places, and none that is not."""

import numpy as np
import pandas as pd
import pytest
from astropy.coordinates import SkyCoord
from astropy.wcs import WCS

from builders.drift_tiles import simulated_ms, table_of
from builders.imaging_sky import ANTENNAS_24
from contimg.drift.data import AveragedI, StokesI
from contimg.drift.find import Search, _DirtyImager, channels_averaged, find_sources
from contimg.drift.predict import DriftArray, PointSources
from contimg.image import header as fitsimage
from contimg.image.options import ImagingOptions
from contimg.image.plan import resolve
from contimg.ms.sets import read_meta
from contimg.ms.weights import weigh
from contimg.simulate.options import Source
from contimg.telescope.beam import load_beam
from contimg.telescope.beam_map import beam_map
from contimg.telescope.options import BeamOptions

SOURCES = (
    Source(name="0834+555", ra_deg=128.7287, dec_deg=55.5725, flux_jy=8.0, spectral_index=-0.4),
    Source(name="B", ra_deg=129.6, dec_deg=55.0, flux_jy=1.0, spectral_index=-0.7),
    Source(name="C", ra_deg=127.6, dec_deg=55.3, flux_jy=0.4, spectral_index=-0.7),
    Source(name="D", ra_deg=129.9, dec_deg=55.7, flux_jy=0.25, spectral_index=-0.7),
)
BEAM = BeamOptions()
NEAR = 0.6
"""Of the beam: all sources are within 0.7 deg, where it is above 0.8."""


@pytest.fixture(scope="module")
def tile(tmp_path_factory):
    names = tuple(str(name) for name in ANTENNAS_24)
    return simulated_ms(tmp_path_factory.mktemp("find"), SOURCES, antennas=names, n_integrations=4)


def search(tile, *, slope=(0.0, 0.0), down_to=0.3, **changes):
    """A search of the field where the beam is above `down_to`."""
    meta = read_meta(tile)
    plan = resolve(meta, ImagingOptions(robust=0.5, pb_limit=down_to), BEAM)
    fields = tuple(float(np.radians(n * plan.cell_arcsec / 3600)) for n in (plan.nx, plan.ny))
    data = weigh(tile, meta, fields_rad=fields, robust=plan.robust, uvmin_klambda=0.0)
    major, minor, angle = np.degrees(data.beam_rad)
    header = fitsimage.tile_header(
        meta,
        plan,
        axes=fitsimage.imager_axes(tile, meta),
        slope=slope,
        beam_arcsec=(float(major) * 3600, float(minor) * 3600, float(angle)),
        freq_hz=data.effective_freq_hz(meta.freq_hz),
        n_visibilities=data.n_visibilities,
    )
    box = 30 * np.sqrt(major * minor) / header["CDELT2"]
    wanted = {
        "header": header,
        "pb": beam_map(header, meta, data.time_channel, load_beam(BEAM)),
        "sigma": 7.0,
        "pb_limit": 0.05,
        "robust": plan.robust,
        "uvmin_klambda": 0.0,
        "rms_box_pix": float(box),
    }
    return Search(**{**wanted, **changes})


def test_all_sources_and_nothing_else_are_found_with_their_fluxes(tile):
    with StokesI(tile) as data:
        found = find_sources(data, search(tile, down_to=NEAR), beam=load_beam(BEAM), threads=2).table
    true = table_of(SOURCES)
    places = SkyCoord(found["ra_deg"], found["dec_deg"], unit="deg")
    nearest, apart, _ = SkyCoord(true["ra_deg"], true["dec_deg"], unit="deg").match_to_catalog_sky(places)
    assert sorted(nearest) == list(range(len(SOURCES)))
    assert len(found) == len(SOURCES)
    flux, error = (found[name].to_numpy()[nearest] for name in ("flux_jy", "flux_err_jy"))
    # 4 errors of the fit, and 0.3 % for what averaging over channels leaves out of the model
    assert np.all(np.abs(flux - true["flux_jy"]) < 4 * error + 0.003 * true["flux_jy"])
    # at S/N of 30 and more a place is right to 1/30 of a beam; the beam of these antennas is about 20 arcsec
    assert apart.arcsec.max() < 2.0


def test_what_is_known_is_begun_with_and_what_is_too_faint_is_left_alone(tile):
    known = table_of(SOURCES[:1])
    with StokesI(tile) as data:
        found = find_sources(
            data, search(tile, down_to=NEAR, least_jy=0.6), beam=load_beam(BEAM), known=known, threads=2
        ).table
    assert len(found) == 2
    assert found["flux_jy"].iloc[0] == pytest.approx(8.0, rel=0.01)


@pytest.mark.parametrize("slanted", [False, True])
def test_a_source_at_the_edge_of_the_search_is_where_the_header_says_with_and_without_w(tile, slanted):
    where = search(tile, slope=fitsimage.slant(tile, read_meta(tile)) if slanted else (0.0, 0.0))
    rows, columns = np.nonzero(where.pb >= where.pb_limit)
    farthest = np.argmax(np.hypot(columns - where.pb.shape[1] / 2, rows - where.pb.shape[0] / 2))
    y, x = int(rows[farthest]), int(columns[farthest])
    sky = WCS(where.header).celestial.pixel_to_world(x, y)
    source = PointSources.from_table(
        pd.DataFrame(
            {"ra_deg": [sky.ra.deg], "dec_deg": [sky.dec.deg], "flux_jy": [1.0], "spectral_index": [0.0]}
        )
    )
    with StokesI(tile) as data:
        coarse = AveragedI(data, channels_averaged(len(data.meta.freq_hz)))
        imager = _DirtyImager(coarse, where, 1)
        view = DriftArray(coarse.meta, beam=None, smearing=False).view(source)
        cross = coarse.meta.ant1 != coarse.meta.ant2
        vis = np.concatenate([view.predict(i)[cross] for i in range(coarse.meta.n_times)])
    assert imager.gridder.wide is not slanted
    # without w half of FLAT_RAD squared, 0.5 %, may be lost; the gridder errs by 0.1 %; a pixel off would cost 10 %
    assert imager.gridder.dirty(vis)[y, x] == pytest.approx(1.0, abs=0.007)


def test_channels_are_averaged_with_their_weights(tile):
    with StokesI(tile) as data:
        coarse = AveragedI(data, 4)
        vis, weight = data.read(2)
        mean, total = coarse.read(2)
        np.testing.assert_array_equal(coarse.uvw(2), data.uvw(2))
    row = int(np.flatnonzero(weight.any(axis=1))[0])
    w, v = weight[row, 4:8].astype(float), vis[row, 4:8]
    np.testing.assert_allclose(total[row, 1], w.sum(), rtol=1e-6)
    np.testing.assert_allclose(mean[row, 1], (w * v).sum() / w.sum(), rtol=1e-5)
    assert coarse.meta.freq_hz[1] == pytest.approx(data.meta.freq_hz[4:8].mean())


@pytest.mark.parametrize(("channels", "step"), [(768, 12), (256, 4), (64, 1), (48, 1), (97, 1)])
def test_a_search_keeps_at_least_64_channels(channels, step):
    assert channels_averaged(channels) == step
