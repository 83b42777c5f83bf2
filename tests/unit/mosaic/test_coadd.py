"""Mosaics against a known sky: fluxes, places, weights, noise, beams, and tiles that are not there."""

import json
import tracemalloc

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from reproject import reproject_interp
from reproject.mosaicking import reproject_and_coadd

from builders.tile_images import TILE_MINUTES, Beam, fit_source, header_beam, write_strip, write_tile
from contimg.core.errors import ConfigError, Rejected
from contimg.mosaic import coadd, output
from contimg.mosaic import tiles as mosaic_tiles
from contimg.mosaic.coadd import make_mosaic
from contimg.mosaic.grid import grid_from_tiles, window_grid
from contimg.mosaic.options import MosaicOptions
from contimg.mosaic.tiles import inspect_tiles, load_planes


@pytest.fixture(autouse=True)
def without_picture(monkeypatch):
    """Pictures take half of a small mosaic's time, and ten times its memory; they have tests of their own."""
    monkeypatch.setattr(output, "save_picture", lambda *arguments: None)


def read(out, name="m", suffix=""):
    data, header = fits.getdata(out / f"{name}{suffix}.fits", header=True)
    return data, header, WCS(header)


def apart(rng, ra_deg, dec_deg, count, *, half_width_deg, half_height_deg=1.1, least_deg=0.3):
    """Random source places at least ``least_deg`` apart (5 beams of 200"), so that none changes another's fit."""
    places = []
    while len(places) < count:
        east, north = (
            rng.uniform(-half_width_deg, half_width_deg),
            rng.uniform(-half_height_deg, half_height_deg),
        )
        if all(np.hypot(east - e, north - n) > least_deg for e, n in places):
            places.append((east, north))
    return [((ra_deg + e / np.cos(np.deg2rad(dec_deg + n))) % 360, dec_deg + n) for e, n in places]


@pytest.mark.parametrize("beam", ["common", "native"])
@pytest.mark.parametrize(
    ("dec_deg", "ra_deg", "count"), [(-5.0, 150.0, 4), (55.0, 0.05, 5), (70.0, 210.0, 12), (85.0, 359.0, 3)]
)
def test_sources_keep_flux_and_place(tmp_path, dec_deg, ra_deg, count, beam):
    rng = np.random.default_rng(7)
    width = (count - 1) / 2 * 1.29 * np.cos(np.deg2rad(dec_deg)) + 1.0
    places = apart(rng, ra_deg, dec_deg, 20, half_width_deg=width)
    sources = [(*place, flux) for place, flux in zip(places, rng.uniform(0.2, 3, 20), strict=True)]
    tiles = write_strip(tmp_path / "images", ra_deg=ra_deg, dec_deg=dec_deg, count=count, sources=sources)
    grid = window_grid(ra_deg, dec_deg, 62.0, 2.0, 30.0)
    made = make_mosaic(tiles, tmp_path, name="m", grid=grid, options=MosaicOptions(beam=beam), threads=2)
    image, header, wcs = read(tmp_path)
    own = header_beam(header)
    fitted = np.array([fit_source(image, wcs, *place, own) for place in places])
    truth = np.array([flux for *_, flux in sources])
    assert made["metrics"]["n_tiles"] == count
    # Spline of a 4-pixel beam: 0.1 %. A pixel of the tile is 0.9 % short in the mosaic 7.5 degrees away, which
    # the common beam takes up, and 0.5 % changes over a tile. Native: beams turned by up to 8 degrees about
    # their mean, of axis ratio 0.6, lose up to (8 deg)^2 (r - 1/r)^2 / 8 = 0.3 % of a fit of fixed width.
    np.testing.assert_allclose(fitted[:, 0] / truth, 1, atol=5e-3)
    # Division by the primary beam moves a Gaussian of 85" sigma by sigma^2 dln(pb)/dr <= 3" at its limit, less
    # where tiles on both sides share it: 0.02 of the minor axis (120") is 2.4".
    assert np.abs(fitted[:, 1:]).max() * 30 / own.minor_arcsec < 0.02


def test_bilinear_is_worse_than_bicubic(tmp_path):
    places = apart(np.random.default_rng(3), 10.0, 55.0, 12, half_width_deg=1.5)
    sources = [(*place, 1.0) for place in places]
    tiles = write_strip(tmp_path / "images", ra_deg=10.0, dec_deg=55.0, count=3, sources=sources)
    loss = {}
    for interpolation in ("bicubic", "bilinear"):
        options = MosaicOptions(interpolation=interpolation, beam="native")
        make_mosaic(tiles, tmp_path / interpolation, name="m", options=options)
        image, header, wcs = read(tmp_path / interpolation)
        flux = [fit_source(image, wcs, *place, header_beam(header))[0] for place in places]
        loss[interpolation] = 1 - np.median(flux)
    assert abs(loss["bicubic"]) < 2e-3
    assert 0.01 < loss["bilinear"] < 0.03


def test_weights_and_noise_are_what_the_tiles_say(tmp_path):
    """Weights add, the rms map is their inverse root, and the noise in the image is that rms."""
    noise_jy = (1e-3, 2e-3, 1e-3, 1.5e-3)
    tiles = [
        write_tile(
            tmp_path / "images", f"2025-10-30T13:{i:02d}:00", 10 + 0.4 * i, 30.0, noise_jy=s, rms_jy=s, seed=i
        )
        for i, s in enumerate(noise_jy)
    ]
    made = make_mosaic(tiles, tmp_path, name="m", options=MosaicOptions(beam="native"))
    image, _, wcs = read(tmp_path)
    weights, _, _ = read(tmp_path, suffix=".weights")
    rms, _, _ = read(tmp_path, suffix=".rms")
    good, _ = inspect_tiles(tiles)
    expected = np.zeros_like(weights)
    for tile in good:
        _, inverse_variance = load_planes(tile, pb_limit=0.2)
        part = reproject_interp(
            (inverse_variance, tile.wcs), wcs, weights.shape, order=1, return_footprint=False
        )
        expected += np.nan_to_num(part)
    np.testing.assert_allclose(weights, expected, rtol=1e-3, atol=1e-3 * expected.max())
    np.testing.assert_allclose(rms[weights > 0], weights[weights > 0] ** -0.5, rtol=1e-5)
    assert (np.isnan(rms) == (weights == 0)).all()
    assert (np.isnan(image) == (weights == 0)).all()
    # 512^2 pixels over 26 pixels a beam: 1e4 independent values, 0.7 % on their rms; a spline at 4 pixels a beam
    # takes another 0.5 % off the shortest waves of the noise.
    normalised = (image * np.sqrt(weights))[weights > 0]
    assert normalised.std() == pytest.approx(1, abs=0.03)
    middle = np.s_[weights.shape[0] // 2, weights.shape[1] // 2]
    assert rms[middle] < 1e-3 / np.sqrt(2)
    shares = {record["tile"][-5:-3]: record["weight"] for record in made["tiles"]}
    assert sum(shares.values()) == pytest.approx(1)
    # All four lie inside the mosaic, with the same beam: their weights are as 1 / rms^2.
    np.testing.assert_allclose(
        [shares[f"{i:02d}"] for i in range(4)],
        np.power(noise_jy, -2.0) / np.sum(np.power(noise_jy, -2.0)),
        rtol=2e-3,
    )


def test_convolution_changes_the_rms_map_as_it_changes_the_noise(tmp_path):
    """Noise of autocorrelation width s, convolved with width k: rms times jy_scale (s^2 / (s^2 + 2 k^2))^(1/2)."""
    path = write_tile(tmp_path, "2025-10-30T13:00:00", 10, 30.0, noise_jy=1e-3)
    (tile,), _ = inspect_tiles([path])
    # The noise is made by smoothing with sigma 200" 120" geometric mean / 2.3548 / 30" / sqrt 2, in pixels.
    half = 200 * 120 / (8 * np.log(2)) / 30**2 / 2
    kernel, jy_scale = 0.8 * half, 1.5
    _, before = load_planes(tile, pb_limit=0.2)
    image, after = load_planes(tile, pb_limit=0.2, kernel_px=np.eye(2) * kernel, jy_scale=jy_scale)
    expected = jy_scale * np.sqrt(half / (half + kernel))
    # Both medians are of the same noise, which has 1e4 independent values: 1 %.
    both = np.isfinite(after)
    np.testing.assert_allclose(np.sqrt(before[both] / after[both]), expected, rtol=0.015)
    assert (image * np.sqrt(after))[both].std() == pytest.approx(1, abs=0.02)


def test_noise_of_unlike_beams_is_right_in_their_mosaic(tmp_path):
    """Two beams, one much larger: the common one changes the noise, and the rms map follows."""
    beams = (Beam(150, 120, 0), Beam(240, 200, 90))
    tiles = [
        write_tile(tmp_path / "images", f"2025-10-30T13:{i:02d}:00", 10, 30.0, beam=b, noise_jy=1e-3, seed=i)
        for i, b in enumerate(beams)
    ]
    make_mosaic(tiles, tmp_path, name="m", options=MosaicOptions())
    image, weights = read(tmp_path)[0], read(tmp_path, suffix=".weights")[0]
    # 3e3 independent values in the larger beam: 1.3 % each.
    assert (image * np.sqrt(weights))[weights > 0].std() == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("pa_deg", [20.0, 110.0])
def test_a_common_beam_across_an_hour_at_70_degrees_is_the_beam_of_every_source(tmp_path, pa_deg):
    """Tiles' axes turn by 14 degrees from one end to the other; the sources are alike after convolution."""
    ra_deg, dec_deg = 30.0, 70.0
    places = [(ra_deg + offset, dec_deg + 0.3) for offset in (-7.3, -3.6, 0.0, 3.6, 7.3)]
    tiles = write_strip(
        tmp_path / "images", ra_deg=ra_deg, dec_deg=dec_deg, count=12, beam=Beam(260, 120, pa_deg),
        sources=[(*place, 1.0) for place in places],
    )  # fmt: skip
    left = {}
    for beam in ("common", "native"):
        make_mosaic(tiles, tmp_path, name=beam, options=MosaicOptions(beam=beam))
        image, header, wcs = read(tmp_path, beam)
        own = header_beam(header)
        assert header["BEAMMODE"] == beam
        fits_ = [fit_source(image, wcs, *place, own) for place in places]
        left[beam] = max(
            residual(image, wcs, place, own, fit) for place, fit in zip(places, fits_, strict=True)
        )
        if beam == "common":
            np.testing.assert_allclose([fit[0] for fit in fits_], 1, atol=3e-3)
    # What a fit with the header's beam leaves: little after convolution (the turn within one tile is < 0.5 %),
    # the turn itself (half the tilt of 7 degrees between axes of ratio 2.2) without.
    assert left["common"] < 0.01
    assert left["native"] > 3 * left["common"]


def residual(image, wcs, place, beam, fit):
    """Largest difference from the fitted beam within 7 pixels."""
    from builders.tile_images import gaussian

    px, py = (float(v[0]) for v in wcs.wcs_world2pix([place[0]], [place[1]], 0))
    y, x = np.mgrid[round(py) - 7 : round(py) + 8, round(px) - 7 : round(px) + 8]
    return np.abs(image[y, x] - fit[0] * gaussian(x - px - fit[1], y - py - fit[2], beam, 30.0)).max()


def test_the_plain_mean_weighs_all_alike(tmp_path):
    tiles = [
        write_tile(
            tmp_path / "images", f"2025-10-30T13:0{i}:00", 10, 30.0, sources=[(10.2, 30.1, f)], rms_jy=s
        )
        for i, (f, s) in enumerate([(1.0, 1e-3), (3.0, 4e-3)])
    ]
    for method, flux, rms_jy in (
        ("mean", 2.0, np.hypot(1, 4) / 2),
        ("weighted", 18 / 17 + 1 / 17, 4 / np.sqrt(17)),
    ):
        make_mosaic(tiles, tmp_path, name=method, options=MosaicOptions(method=method))
        image, header, wcs = read(tmp_path, method)
        rms, _, _ = read(tmp_path, method, ".rms")
        assert fit_source(image, wcs, 10.2, 30.1, header_beam(header))[0] == pytest.approx(flux, rel=2e-3)
        middle = rms[rms.shape[0] // 2, rms.shape[1] // 2]
        assert middle == pytest.approx(rms_jy * 1e-3, rel=2e-3)
        assert header["MOSMETH"] == method


def test_tiles_that_cannot_be_used_are_listed_and_the_others_unharmed(tmp_path):
    source = (10.3, 55.2, 1.0)
    tiles = write_strip(tmp_path / "images", ra_deg=10.0, dec_deg=55.0, count=7, sources=[source])
    rejected, gone, cut, no_beam, no_rms = tiles[:5]
    (rejected / "status.json").write_text(json.dumps({"status": "rejected", "reason": "no solution"}))
    for file in gone.iterdir():
        file.unlink()
    gone.rmdir()
    image_file = cut / f"{cut.name}.image.fits"
    image_file.write_bytes(image_file.read_bytes()[:-300_000])
    with fits.open(no_beam / f"{no_beam.name}.image.fits", mode="update") as hdus:
        del hdus[0].header["BMAJ"]
    (no_rms / f"{no_rms.name}.rms.fits").unlink()
    made = make_mosaic(tiles[::-1], tmp_path, name="m", options=MosaicOptions())
    records = {record["tile"]: record for record in made["tiles"]}
    assert [record["tile"] for record in made["tiles"]] == [tile.name for tile in tiles]
    found = [(records[tile.name]["status"], records[tile.name]["weight"] > 0) for tile in tiles]
    assert (
        found == [("rejected", False), ("missing", False)] + [("unreadable", False)] * 3 + [("ok", True)] * 2
    )
    assert records[rejected.name]["reason"] == "no solution"
    assert "cut short" in records[cut.name]["reason"]
    assert "BMAJ" in records[no_beam.name]["reason"]
    assert ".rms.fits" in records[no_rms.name]["reason"]
    image, header, wcs = read(tmp_path)
    assert header["NTILES"] == 2
    assert fit_source(image, wcs, *source[:2], header_beam(header))[0] == pytest.approx(1, abs=5e-3)


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("RADESYS", "FK5", "expected two ICRS axes"),
        ("BMIN", 0.0, "restoring beam"),
        ("DATE-OBS", "x", "lacks what"),
    ],
)
def test_a_header_that_would_misplace_or_misweigh_a_tile_is_refused(tmp_path, key, value, reason):
    path = write_tile(tmp_path, "2025-10-30T13:00:00", 10, 55, size=32)
    with fits.open(path / f"{path.name}.image.fits", mode="update") as hdus:
        hdus[0].header[key] = value
    good, left_out = inspect_tiles([path])
    assert good == []
    assert left_out[0]["status"] == "unreadable"
    assert reason in left_out[0]["reason"]


@pytest.mark.parametrize("damage", ["none", "no JSON", "no status"])
def test_a_directory_without_a_verdict_is_unreadable(tmp_path, damage):
    tile = write_tile(tmp_path, "2025-10-30T13:00:00", 10, 55, size=32)
    text = {"none": None, "no JSON": "{", "no status": "[]"}[damage]
    (tile / "status.json").unlink()
    if text is not None:
        (tile / "status.json").write_text(text)
    good, left_out = inspect_tiles([tile])
    assert good == []
    assert left_out[0]["status"] == "unreadable"
    assert "status.json" in left_out[0]["reason"]


def test_a_tile_that_failed_a_gate_is_recorded_and_adds_nothing(tmp_path):
    # the second tile has a source that the others lack
    paths = write_strip(tmp_path / "tiles", ra_deg=130.0, dec_deg=55.0, count=3)
    bad = write_tile(tmp_path / "bad", paths[1].name, 130.0, 55.0, sources=[(130.0, 55.0, 1.0)])
    dirs = [paths[0], bad, paths[2]]
    stopped = {str(bad): "qa: rms 4, limit 3", str(tmp_path / "elsewhere"): "qa: beam 9, limit 6"}
    made = make_mosaic(dirs, tmp_path / "without", name="m", options=MosaicOptions(), stopped=stopped)
    record = made["tiles"][1]
    assert (record["status"], record["reason"], record["weight"]) == ("rejected", "qa: rms 4, limit 3", 0.0)
    assert made["metrics"]["n_tiles"] == 2
    assert np.nanmax(np.abs(read(tmp_path / "without")[0])) == 0.0  # tiles without noise or sources
    with pytest.raises(Rejected, match=r"1 good tiles.*2 rejected"):
        make_mosaic(
            dirs, tmp_path / "none", name="m", options=MosaicOptions(),
            stopped={**stopped, str(paths[0]): "qa: flags 0.9, limit 0.7"},
        )  # fmt: skip


def test_too_few_good_tiles_make_no_mosaic(tmp_path):
    tiles = write_strip(tmp_path / "images", ra_deg=10.0, dec_deg=55.0, count=3, size=64)
    (tiles[0] / "status.json").write_text(json.dumps({"status": "rejected", "reason": "no solution"}))
    absent = tmp_path / "images" / "2025-10-30T15:00:00"
    with pytest.raises(
        Rejected, match=r"2 good tiles, fewer than mosaic.min_tiles=3 .*1 missing, 2 ok, 1 rejected"
    ) as e:
        make_mosaic([*tiles, absent], tmp_path / "out", name="m", options=MosaicOptions(min_tiles=3))
    assert [tile["status"] for tile in e.value.tiles] == ["rejected", "ok", "ok", "missing"]
    assert not (tmp_path / "out").exists()


def test_tiles_outside_the_grid_do_not_count(tmp_path):
    tiles = write_strip(tmp_path / "images", ra_deg=10.0, dec_deg=55.0, count=3, size=64)
    elsewhere = window_grid(100.0, 55.0, 20.0, 0.5, 30.0)
    with pytest.raises(Rejected, match=r"0 good tiles.*3 outside the mosaic"):
        make_mosaic(tiles, tmp_path / "out", name="m", grid=elsewhere, options=MosaicOptions())


def test_a_range_too_wide_for_one_projection_is_refused(tmp_path):
    tiles = [write_tile(tmp_path, f"2025-10-30T1{i}:00:00", 20 * i, 0, size=32) for i in range(3)]
    with pytest.raises(ConfigError, match="30 deg"):
        make_mosaic(tiles, tmp_path / "out", name="m", options=MosaicOptions())


def test_two_nights_of_a_window_share_their_pixels(tmp_path):
    """Whichever tiles are good, a sky position is the same pixel."""
    grid = window_grid(0.0, 55.0, 60.0, 2.0, 30.0)
    tiles = write_strip(tmp_path / "images", ra_deg=0.0, dec_deg=55.0, count=5, sources=[(0.3, 55.1, 1.0)])
    for name, night in (("first", tiles), ("second", tiles[1:4])):
        make_mosaic(night, tmp_path, name=name, grid=grid, options=MosaicOptions(beam="native"))
    first, second = (read(tmp_path, name) for name in ("first", "second"))
    assert first[0].shape == second[0].shape == grid.shape
    for key in ("CRVAL1", "CRVAL2", "CRPIX1", "CRPIX2", "CDELT1", "CDELT2"):
        assert first[1][key] == second[1][key]
    assert np.nanargmax(first[0]) == np.nanargmax(second[0])


def test_blanks_of_a_tile_do_not_spread(tmp_path):
    source = (10.2, 30.1, 1.0)
    blank = np.s_[100:103, 200:210]
    tiles = [
        write_tile(tmp_path / "images", f"2025-10-30T13:0{i}:00", 10, 30.0, sources=[source], blank=blank)
        for i in range(2)
    ]
    for beam in ("native", "common"):
        make_mosaic(tiles, tmp_path, name=beam, options=MosaicOptions(beam=beam))
        image, header, wcs = read(tmp_path, beam)
        assert fit_source(image, wcs, *source[:2], header_beam(header))[0] == pytest.approx(1, abs=5e-3)
        # Alike tiles on their own grid: the blank of 3 x 10 pixels and 4 on each side of it (the reach of a
        # spline), one more where interpolation is between pixels.
        hole = np.isnan(image[130:-130, 130:-130]).sum() + np.isnan(image[60:130, 150:260]).sum()
        assert 11 * 18 <= hole <= 13 * 20


def test_the_mosaic_is_that_of_reproject_and_coadd(tmp_path):
    rng = np.random.default_rng(9)
    places = apart(rng, 10.0, 70.0, 15, half_width_deg=1.5)
    tiles = write_strip(
        tmp_path / "images", ra_deg=10.0, dec_deg=70.0, count=3, noise_jy=1e-3,
        sources=[(*place, flux) for place, flux in zip(places, rng.uniform(0.1, 1, 15), strict=True)],
    )  # fmt: skip
    make_mosaic(tiles, tmp_path, name="m", options=MosaicOptions(beam="native"))
    ours, _, wcs = read(tmp_path)
    weights, _, _ = read(tmp_path, suffix=".weights")
    good, _ = inspect_tiles(tiles)
    planes = [load_planes(tile, pb_limit=0.2) for tile in good]
    theirs, _ = reproject_and_coadd(
        [(image, tile.wcs) for tile, (image, _) in zip(good, planes, strict=True)],
        wcs,
        shape_out=ours.shape,
        input_weights=[np.nan_to_num(weight) for _, weight in planes],
        reproject_function=reproject_interp,
        order="bicubic",
    )
    # Where all three tiles are well inside; elsewhere their weights, cubic splines too, swing below 0 at edges.
    inside = weights > 0.6 * weights.max()
    assert inside.sum() > 10_000
    assert np.abs(ours - theirs)[inside].max() < 1e-3 * np.nanmax(ours)


def test_the_header_says_what_the_mosaic_is(tmp_path):
    tiles = write_strip(tmp_path / "images", ra_deg=0.0, dec_deg=55.0, count=3, size=128)
    made = make_mosaic(
        tiles, tmp_path, name="0000+55", options=MosaicOptions(),
        origin={"software": "contimg 0.1", "sidecar": "mosaics/2025-10-30/0000+55/status.json", "run": "night 1"},
    )  # fmt: skip
    for suffix, unit in (("", "Jy/beam"), (".rms", "Jy/beam"), (".weights", "beam2 Jy-2")):
        data, header, wcs = read(tmp_path, "0000+55", suffix)
        assert data.ndim == 2
        assert wcs.wcs.radesys == "ICRS"
        assert list(wcs.wcs.ctype) == ["RA---SIN", "DEC--SIN"]
        assert header["BUNIT"] == unit
        assert header["OBJECT"] == "0000+55"
        assert header["DATE-OBS"] == "2025-10-30T13:00:00.000"
        # Three tiles of 5.154 minutes.
        assert (header["MJD-END"] - header["MJD-OBS"]) * 1440 == pytest.approx(3 * 5.154, abs=1e-3)
        assert header["MJD-AVG"] == pytest.approx((header["MJD-END"] + header["MJD-OBS"]) / 2, abs=1e-6)
        assert header["RESTFRQ"] == pytest.approx(1.4e9)
        assert header["TELESCOP"] == "OVRO_MMA"
        assert (header["STOKES"], header["FREQMIN"], header["FREQMAX"]) == ("I", 1.31e9, 1.5e9)
        assert header["EXPTIME"] == pytest.approx(header["NTILES"] * TILE_MINUTES * 60, abs=0.01)
        assert header["ORIGIN"] == "contimg 0.1"
        assert header["DATE"] >= "2025-10-30T13:15:27"  # written after it was observed
        assert header["SIDECAR"] == "mosaics/2025-10-30/0000+55/status.json"
        assert "run: night 1" in list(header["HISTORY"])
        assert header["BMAJ"] * 3600 == pytest.approx(made["metrics"]["beam_major_arcsec"])
    # 128 pixels of 30" are 1.067 degrees; three of them, 0.74 degrees apart on the sky, without a rim of pixels
    # that interpolation or convolution do not fill (1 % of the width each).
    assert made["metrics"]["area_deg2"] == pytest.approx(1.067 * (1.067 + 2 * 0.7413), rel=0.2)
    assert json.loads(json.dumps(made)) == made


def test_only_one_tile_is_ever_in_memory_and_each_plane_is_read_once(tmp_path, monkeypatch):
    grid = window_grid(10.0, 55.0, 30.0, 1.1, 30.0)
    tiles = write_strip(tmp_path / "images", ra_deg=10.0, dec_deg=55.0, count=6, size=256)
    opened = []
    read_plane = mosaic_tiles.read_plane

    def counting(path):
        opened.append(path.name)
        return read_plane(path)

    monkeypatch.setattr(mosaic_tiles, "read_plane", counting)

    def peak(directories):
        tracemalloc.start()
        make_mosaic(directories, tmp_path, name="m", grid=grid, options=MosaicOptions())
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    peak(tiles[:2])  # what modules allocate when first used
    few = peak(tiles[:2])
    opened.clear()
    many = peak(tiles)
    assert sorted(opened) == sorted(
        f"{t.name}.{plane}.fits" for t in tiles for plane in ("image", "pb", "rms")
    )
    # A tile's three float32 planes are 0.8 MB; four more tiles in memory would be 3 MB.
    assert many - few < 0.4e6


def test_work_is_proportional_to_what_tiles_cover(tmp_path, monkeypatch):
    """A tile is interpolated onto its own part of a wide mosaic, not onto all of it."""
    pixels = []
    add_tile = coadd.add_tile

    def counting(sums, image, weight, **settings):
        from contimg.mosaic.regrid import blocks_of, covered_rectangle

        rectangle = covered_rectangle(
            settings["wcs_tile"], image.shape, settings["wcs_mosaic"], sums.image.shape
        )
        blocks = list(blocks_of(rectangle, settings["wcs_tile"], settings["wcs_mosaic"]))
        pixels.append(sum((b.y1 - b.y0) * (b.x1 - b.x0) for b in blocks))
        return add_tile(sums, image, weight, **settings)

    monkeypatch.setattr(coadd, "add_tile", counting)
    tiles = write_strip(tmp_path / "images", ra_deg=10.0, dec_deg=70.0, count=12, size=128)
    make_mosaic(tiles, tmp_path, name="m", options=MosaicOptions())
    # Turned by up to 7 degrees: (cos + sin)^2 = 1.24, and 5 pixels of rim on 128.
    assert max(pixels) < 1.35 * 128**2


def test_a_grid_from_tiles_holds_the_mosaic(tmp_path):
    tiles = write_strip(tmp_path / "images", ra_deg=0.0, dec_deg=-5.0, count=3, size=128)
    make_mosaic(tiles, tmp_path, name="m", options=MosaicOptions())
    good, _ = inspect_tiles(tiles)
    grid = grid_from_tiles([(tile.wcs, tile.shape) for tile in good])
    image, header, _ = read(tmp_path)
    assert image.shape == grid.shape
    assert header["CRVAL1"] == pytest.approx(0, abs=1e-6) or header["CRVAL1"] == pytest.approx(360, abs=1e-6)
