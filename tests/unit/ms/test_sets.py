"""The Measurement Set as others read it: casacore, CASA, and this library itself."""

import shutil

import numpy as np
import pytest
from astropy import units
from astropy.coordinates import EarthLocation
from casacore import tables

from contimg.core.errors import InputError
from contimg.ms import sets, subtables

N_TIMES, N_ANT, N_CHAN = 3, 4, 8
NAMES = ["1", "2", "103", "4"]
RNG_SEED = 3


@pytest.fixture
def meta():
    rng = np.random.default_rng(RNG_SEED)
    ant1, ant2 = np.triu_indices(N_ANT)
    return sets.MsMeta(
        tile="2025-10-30T13:00:00",
        times_jd=2460979.05 + np.arange(N_TIMES) * 12.884902 / 86400,
        integration_s=np.full(N_TIMES, 12.884902),
        antenna_names=NAMES,
        antenna_positions_m=rng.normal(size=(N_ANT, 3)) * 500,
        diameters_m=np.full(N_ANT, 4.65),
        ant1=ant1,
        ant2=ant2,
        freq_hz=1311.3720703125e6 + np.arange(N_CHAN) * 244140.625,
        channel_width_hz=244140.625,
        correlations=(9, 12),
        phase_ra_rad=3.5,
        phase_dec_rad=0.9,
        field_name="meridian",
        pointing_dec_rad=0.901,
        longitude_deg=-118.2834,
        latitude_deg=37.2334,
        height_m=1188.05,
        telescope_name="OVRO_MMA",
    )


def write(path, meta, *, weight_spectrum=False):
    """Write distinguishable values everywhere; return them, (nt, nbl, ...)."""
    rng = np.random.default_rng(RNG_SEED)
    uvw = rng.normal(size=(*meta.shape[:2], 3))
    data = (rng.normal(size=(*meta.shape, 2)) @ [1, 1j]).astype(np.complex64)
    flag = rng.random(meta.shape) < 0.3
    flag[1, 2] = True
    weight = rng.random((*meta.shape[:2], meta.shape[3])).astype(np.float32)
    weight[0, 0] = 0
    spectrum = rng.random(meta.shape).astype(np.float32) if weight_spectrum else None
    with sets.MsWriter(path, meta, weight_spectrum=weight_spectrum) as writer:
        for i in range(meta.n_times):
            per_channel = None if spectrum is None else spectrum[i]
            writer.write_time(i, uvw[i], data[i], flag[i], weight[i], per_channel)
    return {"UVW": uvw, "DATA": data, "FLAG": flag, "WEIGHT": weight, "WEIGHT_SPECTRUM": spectrum}


def test_every_column_comes_back_as_it_was_written(meta, tmp_path):
    written = write(tmp_path / "a.ms", meta, weight_spectrum=True)
    with tables.table(str(tmp_path / "a.ms"), ack=False) as table:
        for name, values in written.items():
            np.testing.assert_array_equal(table.getcol(name).reshape(values.shape), values)
        np.testing.assert_array_equal(
            table.getcol("FLAG_ROW").reshape(N_TIMES, -1), written["FLAG"].all((2, 3))
        )
        sigma, weight = table.getcol("SIGMA"), table.getcol("WEIGHT")
        np.testing.assert_allclose(sigma[weight > 0] ** -2, weight[weight > 0], rtol=1e-6)
        assert np.all(sigma[weight == 0] == 0)
        assert "MODEL_DATA" not in table.colnames()
        # 2 microseconds is what a float64 of MJD seconds can hold
        np.testing.assert_allclose(
            table.getcol("TIME").reshape(N_TIMES, -1),
            np.broadcast_to((meta.times_jd[:, None] - 2400000.5) * 86400, (N_TIMES, meta.n_baselines)),
            rtol=0,
            atol=2e-6,
        )


def test_the_metadata_come_back_after_a_rename(meta, tmp_path):
    write(tmp_path / "part.ms", meta)
    (tmp_path / "part.ms").rename(tmp_path / "final.ms")
    found = sets.read_meta(tmp_path / "final.ms")
    for name in ("tile", "antenna_names", "correlations", "field_name", "telescope_name", "phase_ra_rad"):
        assert getattr(found, name) == getattr(meta, name)
    for name in ("ant1", "ant2", "freq_hz", "diameters_m", "integration_s"):
        np.testing.assert_array_equal(getattr(found, name), getattr(meta, name))
    np.testing.assert_allclose(found.antenna_positions_m, meta.antenna_positions_m, rtol=0, atol=1e-8)
    np.testing.assert_allclose(found.times_jd, meta.times_jd, rtol=0, atol=1e-9)  # days: 2 ulp
    sets.verify(tmp_path / "final.ms", meta)
    with tables.table(str(tmp_path / "final.ms"), ack=False) as table:
        assert all("part" not in str(table.getkeyword(name)) for name in table.keywordnames())


def test_positions_stand_on_the_ellipsoid_of_astropy(meta):
    astropy = EarthLocation.from_geodetic(
        meta.longitude_deg * units.deg, meta.latitude_deg * units.deg, meta.height_m * units.m
    )
    expected = [astropy.x.to_value("m"), astropy.y.to_value("m"), astropy.z.to_value("m")]
    ours = subtables.reference_itrf_m(meta.longitude_deg, meta.latitude_deg, meta.height_m)
    np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-6)


def test_the_large_columns_are_tiled_by_rows_with_all_channels(meta, tmp_path):
    write(tmp_path / "a.ms", meta)
    with tables.table(str(tmp_path / "a.ms"), ack=False) as table:
        managers = {manager["COLUMNS"][0]: manager for manager in table.getdminfo().values()}
    assert managers["DATA"]["TYPE"] == "TiledColumnStMan"
    [cube] = managers["DATA"]["SPEC"]["HYPERCUBES"].values()
    assert list(cube["TileShape"])[:2] == [2, N_CHAN]
    assert managers["ARRAY_ID"]["TYPE"] == "IncrementalStMan"


@pytest.mark.parametrize(
    ("n_baselines", "rows"),
    [(4656, 48), (406, 58), (1176, 49), (55, 55), (4657, 48)],  # 96, 28, 48 and 10 antennas; a prime number
)
def test_tiles_divide_an_integration_where_they_can(n_baselines, rows):
    assert sets.tile_rows(n_baselines) == rows


def test_casa_finds_names_directions_frequencies_and_the_observatory(meta, tmp_path):
    from contimg.core.casa import casatasks

    write(tmp_path / "a.ms", meta)
    tasks = casatasks(1, tmp_path / "casa.log")
    listed = tasks.listobs(vis=str(tmp_path / "a.ms"), listfile=str(tmp_path / "list.txt"))
    direction = listed["field_0"]["direction"]
    assert direction["refer"] == "ICRS"
    assert direction["m0"]["value"] % (2 * np.pi) == pytest.approx(meta.phase_ra_rad, abs=1e-12)
    text = (tmp_path / "list.txt").read_text()
    assert "OVRO_MMA" in text
    assert "103" in text
    log = (tmp_path / "casa.log").read_text()
    assert "SEVERE" not in log
    assert "mount" not in log.lower()


def test_nothing_is_written_over(meta, tmp_path):
    (tmp_path / "a.ms").mkdir()
    with pytest.raises(InputError, match="expected nothing there"):
        sets.MsWriter(tmp_path / "a.ms", meta)


def test_a_set_that_lost_a_subtable_is_found_out(meta, tmp_path):
    write(tmp_path / "a.ms", meta)
    shutil.rmtree(tmp_path / "a.ms" / "POINTING")
    with pytest.raises(InputError, match="POINTING"):
        sets.verify(tmp_path / "a.ms", meta)


def test_a_set_with_coordinates_that_are_not_finite_is_found_out(meta, tmp_path):
    write(tmp_path / "a.ms", meta)
    with tables.table(str(tmp_path / "a.ms"), readonly=False, ack=False) as table:
        table.putcell("UVW", 4, np.array([0, np.nan, 0]))
    with pytest.raises(InputError, match="UVW"):
        sets.verify(tmp_path / "a.ms", meta)


def test_what_convert_did_not_write_is_refused(tmp_path):
    tables.default_ms(str(tmp_path / "other.ms")).close()
    with pytest.raises(InputError, match="table keyword"):
        sets.read_meta(tmp_path / "other.ms")
    with pytest.raises(InputError, match="not a Measurement Set"):
        sets.read_meta(tmp_path / "nothing.ms")
