"""Far sources in simulated tiles: found and taken out, the field unchanged; without any, not a bit changes."""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from astropy.coordinates import AltAz, EarthLocation, HADec, SkyCoord, get_body
from astropy.time import Time
from casacore import tables

from builders.drift_tiles import average, simulated_ms, table_of
from contimg.beam.apparent import apparent
from contimg.beam.job import without_far
from contimg.drift.fit import fit
from contimg.drift.horizon import PLACES, sun_icrs
from contimg.drift.outside import remove_outside
from contimg.image.options import ImagingOptions
from contimg.image.plan import resolve
from contimg.image.tile import image_tile
from contimg.ms.private import PrivateSet
from contimg.ms.sets import read_meta
from contimg.simulate.options import Source
from contimg.telescope import geometry
from contimg.telescope.beam import AiryBeam
from contimg.telescope.options import BeamOptions

BEAM = AiryBeam(4.65)
FIELD = (Source("a", 130.0, 55.4, 8.8, -0.5), Source("b", 128.9, 54.6, 2.0, -0.7))
CAS_A = Source("Cas A", *PLACES["Cas A"][:2], 20.0, -0.8)
# half an hour's hour angle: Cas A stands 60 deg from the field, 39 deg high
TILE = {
    "antennas": (),
    "n_antennas": 24,
    "max_radius_m": 400.0,
    "n_integrations": 8,
    "n_subbands": 16,
    "n_channels": 6,
    "sefd_jy": 2500.0,
    "far_size_arcmin": PLACES["Cas A"][2],
}


def visibilities(ms):
    with tables.table(str(ms), ack=False) as table:
        return table.getcol("DATA"), table.getcol("FLAG")


def digest(ms) -> str:
    return hashlib.sha256(visibilities(ms)[0].tobytes()).hexdigest()


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """The same tile without and with Cas A: same noise, same field."""
    folder = tmp_path_factory.mktemp("outside")
    (folder / "without").mkdir()
    (folder / "with").mkdir()
    without = average(simulated_ms(folder / "without", FIELD, **TILE), folder / "without.ms", 2)
    far = {"far_sources": (CAS_A,)}
    with_it = average(simulated_ms(folder / "with", FIELD, **TILE, **far), folder / "with.ms", 2)
    shutil.copytree(with_it, folder / "imaged.ms")
    before = visibilities(with_it)[0] - visibilities(without)[0]
    shutil.copytree(with_it, folder / "far.ms")
    fluxes = fit(without, table_of(FIELD), beam=BEAM, freq_average=2, threads=2).table
    untouched = digest(without)
    # a fit through Cas A's fringes: what the field's sources are first taken for
    first = fit(with_it, table_of(FIELD), beam=BEAM, freq_average=2, threads=2).table
    reports = [
        remove_outside(PrivateSet(ms), known, beam=BEAM, freq_average=2, threads=2)
        for ms, known in ((without, fluxes), (with_it, first))
    ]
    return without, with_it, before, fluxes, untouched, reports


def test_a_far_source_is_removed_to_below_the_noise(pair):
    without, with_it, before, _, _, (_, report) = pair
    after = visibilities(with_it)[0] - visibilities(without)[0]
    found = report["Cas A"]
    assert found["removed"]
    # 1 + 0.3 sin over 1.7 minutes of 4, on the mean of the hands: within 0.15 of 1
    assert found["mean_jy"] == pytest.approx(20.0, rel=0.15)
    assert found["baselines"] > 0.15 * found["baselines_all"]
    rms = [float(np.sqrt(np.mean(np.abs(v) ** 2))) for v in (before, after)]
    noise = 2500.0 / np.sqrt(2 * 3.90625e6 * 12.884902) * np.sqrt(2)
    assert rms[0] > 5.0
    # what is left is below the noise of one visibility, and below 2 % of the source
    assert rms[1] < 0.5 * noise
    assert rms[1] < 0.02 * rms[0]


def test_the_fluxes_of_the_field_are_those_without_it(pair):
    _, with_it, _, expected, _, _ = pair
    found = fit(with_it, table_of(FIELD), beam=BEAM, freq_average=2, threads=2).table
    # the same noise is in both; of Cas A 1 % is left, 0.2 Jy, which couples to the field by some 10⁻³ at most
    np.testing.assert_allclose(found["flux_jy"], expected["flux_jy"], atol=1e-3)


def test_the_measured_beam_is_that_without_a_far_source(pair, tmp_path):
    without, _, _, sources, _, _ = pair
    far = without.with_name("far.ms")
    shutil.copytree(far, tmp_path / "taken.ms")
    model = {"beam": BEAM, "freq_average": 2, "threads": 2}
    imaged = {"outside": {"Cas A": {"removed": True}, "Sun": {"removed": False}}}
    told = without_far(PrivateSet(tmp_path / "taken.ms"), sources, imaged, **model)
    assert told["Cas A"]["removed"]
    true, wrong, taken = (apparent(ms, sources, **model) for ms in (without, far, tmp_path / "taken.ms"))
    # sigma of a cell is that of the noise, which is the same in all three: what differs is Cas A's
    left, before = (((cells["ratio"] - true["ratio"]) / true["ratio_err"]).std() for cells in (taken, wrong))
    assert left < 0.5
    assert before > 2 * left


def test_a_set_is_not_touched_where_its_image_had_nothing_taken_out(pair):
    without, _, _, _, untouched, _ = pair
    for outside in (None, {"Cas A": {"removed": False}}):
        assert without_far(PrivateSet(without), pd.DataFrame(), {"outside": outside}) is None
    assert digest(without) == untouched


def test_without_a_far_source_nothing_changes_bit_for_bit(pair):
    without, _, _, _, untouched, (report, _) = pair
    assert digest(without) == untouched
    assert "Cas A" in report
    assert not any(entry["removed"] for entry in report.values())


def test_an_image_has_the_field_right_and_says_what_was_taken_out(pair, tmp_path):
    ms, expected = pair[1].with_name("imaged.ms"), pair[3]
    options = ImagingOptions(backend="wsclean", quality_tier="development")
    plan = replace(resolve(read_meta(ms), options), freq_average=2)
    settings = {"beam": BeamOptions(), "scratch": tmp_path, "threads": 2}
    metrics = image_tile(PrivateSet(ms), tmp_path, plan=plan, log=tmp_path / "log", **settings)
    assert [name for name, entry in metrics["outside"].items() if entry["removed"]] == ["Cas A"]
    (table,) = tmp_path.glob("*.sources.parquet")
    found = pd.read_parquet(table).nlargest(2, "flux_jy")
    # found in dirty images, among sidelobes; their fluxes are as right as from their true places, to 0.5 %
    np.testing.assert_allclose(found["flux_jy"], expected["flux_jy"], rtol=5e-3)


def test_only_what_is_above_the_horizon_and_outside_the_field_is_reported(pair):
    meta = read_meta(pair[0])
    place = EarthLocation.from_geodetic(meta.longitude_deg, meta.latitude_deg, meta.height_m)
    time = Time(meta.times_jd.mean(), format="jd", scale="utc")
    altitudes = {
        name: SkyCoord(ra, dec, unit="deg").transform_to(AltAz(obstime=time, location=place)).alt.deg
        for name, (ra, dec, _) in PLACES.items()
    }
    altitudes["Sun"] = get_body("sun", time, place).transform_to(AltAz(obstime=time, location=place)).alt.deg
    expected = {name for name, altitude in altitudes.items() if altitude > 1.0}
    assert set(pair[-1][0]) == expected
    for name, entry in pair[-1][0].items():
        assert entry["altitude_deg"] == pytest.approx(altitudes[name], abs=0.05)


def test_the_sun_is_where_it_is_seen():
    jd = 2460979.3
    place = geometry.location(-118.283, 37.234, 1188.0)
    ra, dec = np.radians(sun_icrs(jd))
    ha, dec_app = (float(v[0, 0]) for v in geometry.hour_angle_dec([ra], [dec], [jd], place))
    time = Time(jd, format="jd", scale="utc")
    seen = get_body("sun", time, place).transform_to(HADec(obstime=time, location=place))
    # its parallax is 9 arcsec
    assert np.degrees(dec_app) == pytest.approx(seen.dec.deg, abs=0.003)
    assert np.degrees(ha) == pytest.approx(seen.ha.wrap_at("180d").deg, abs=0.004)
