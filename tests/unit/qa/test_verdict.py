"""Every gate: data that must fail it, and data that must pass."""

import numpy as np
import pandas as pd
import pytest
from astropy.wcs import WCS

from builders.qa_images import NIGHT, RMS_JY, judged, sky, tile, write_catalogue
from builders.tile_images import Beam, airy, gaussian, separation_deg, tile_wcs
from contimg.core import tables
from contimg.core.products import read_json, write_json
from contimg.gains.noise import PolarisationDifferences, sefd_jy, uniformity
from contimg.qa import verdict as qa
from contimg.qa.conditions import Pointing, notes, sun
from contimg.qa.gates import confusion_jy, excess_scatter, expected_rms_jy, reliability
from contimg.qa.job import QaMosaic
from contimg.qa.options import QaOptions
from contimg.qa.sources import COLUMNS
from contimg.qa.table import GATES
from contimg.sky.catalog import Catalog

SKY = sky()


def catalogue(tmp_path, sources=SKY, **changes):
    return Catalog(write_catalogue(tmp_path / "catalogue.csv", sources, **changes))


def verdicts(record):
    return {name: gate["verdict"] for name, gate in record["gates"].items()}


def failed(record):
    return {name for name, verdict in verdicts(record).items() if verdict == qa.FAIL}


def test_a_good_tile_passes_every_gate(tmp_path):
    where = tile(tmp_path, SKY)
    state = read_json(where / "status.json")
    state["parameters"] = {
        "interpolated": {
            "scales": {"t_b": {"fluxes": 1.03, "sefd": 1.01}, "t_c": {"sefd": None}},
            "left_out": {},
            "with_data": 16,
        }
    }
    write_json(where / "status.json", state)
    record = judged(where, catalog=catalogue(tmp_path))
    assert set(record["gates"]) == {row.name for row in GATES if row.only != "mosaic"}
    assert set(verdicts(record).values()) == {qa.PASS}
    assert (record["verdict"], record["status"], record["reason"]) == (qa.PASS, "ok", None)
    assert record["notes"] == []
    # 30 sources of 50 to 500 sigma: their median flux is known to 1.25 x 1 % / sqrt(30); places to 1/200 beam
    assert record["gates"]["flux_ratio"]["value"] == pytest.approx(1.0, abs=0.01)
    assert record["gates"]["position_offset"]["value"] < 0.01
    assert len(pd.read_parquet(tmp_path / "sources.parquet")) == record["metrics"]["n_sources"]


def test_without_a_catalogue_its_gates_are_not_evaluated_and_never_pass(tmp_path):
    record = judged(tile(tmp_path, SKY))
    assert {name for name, verdict in verdicts(record).items() if verdict == qa.NOT_EVALUATED} == {
        "flux_ratio", "flux_scatter", "completeness", "counterparts", "position_offset", "position_scatter",
        "beam_slope", "pointing", "position_gradient", "transit_scale", "catalogue_scale", "departed",
    }  # fmt: skip
    assert "no reference catalogue" in record["gates"]["completeness"]["reason"]
    assert record["verdict"] == qa.PASS


@pytest.mark.parametrize(
    ("gate", "changes"),
    [
        ("rms", {"rms_jy": 4 * RMS_JY}),
        ("noise", {"noise_over_weights": 1.8}),
        ("noise", {"noise_over_weights": 0.5, "thermal_from_weights_jy": 2 * RMS_JY}),
        ("flags", {"flag_fraction": 0.8}),
        ("weights", {"weight_uniformity": 0.1}),
        ("sefd", {"sefd_jy": 13000.0}),
        ("sefd", {"sefd_jy": 3250.0}),
    ],
)
def test_a_number_beyond_its_limit_fails_its_gate_and_no_other(tmp_path, gate, changes):
    record = judged(tile(tmp_path, SKY, **changes), catalog=catalogue(tmp_path))
    assert failed(record) == {gate}
    assert record["verdict"] == qa.FAIL
    assert record["status"] == "rejected"
    assert record["reason"].startswith(f"{gate} ")
    assert "limit" in record["reason"]


def test_antennas_that_are_off_fail_the_gate_of_what_they_do_and_are_named(tmp_path):
    where = tile(tmp_path, SKY)
    state = read_json(where / "status.json")

    def said(**changes):
        left = {"scale": 0.0, "loss": 0.001, "loss_error": 0.001, "antennas": {}} | changes
        state["metrics"]["selfcal"] = {"left": left, "departed": {}}
        write_json(where / "status.json", state)
        record = judged(where)
        return failed(record), record["notes"]

    assert said() == (set(), [])
    jump = "amplitude 0.61, phase +0 deg in part 4 of 6, polarisation 0"
    assert said(scale=-0.025, antennas={"104": jump}) == ({"antenna_scale"}, [f"antenna 104 is off: {jump}"])
    assert said(scale=0.04)[0] == {"antenna_scale"}
    # one of 96: told, and stops nothing
    assert said(scale=-0.004, antennas={"104": jump}) == (set(), [f"antenna 104 is off: {jump}"])
    assert said(loss=0.03, loss_error=0.002)[0] == {"coherence"}
    assert said(loss=0.03, loss_error=0.02)[0] == set()


def test_antennas_that_are_left_out_are_named_and_told_of_and_stop_a_tile_if_asked_to(tmp_path):
    selfcal = {
        "left": None,
        "departed": {"12": "0.3 of the sources left in polarisation 0"},
        "followed": {"9": "amplitude 0.60 to 1.00"},
    }
    where = tile(tmp_path, SKY, selfcal=selfcal)
    state = read_json(where / "status.json")
    between = {"departed": ["7"], "left_out": {"104": "phases scatter by 80 deg"}, "with_data": 60}
    for count, expected in ((60, set()), (16, {"departed"})):
        state["parameters"] = {"interpolated": {**between, "with_data": count}}
        write_json(where / "status.json", state)
        record = judged(where)
        assert failed(record) == expected
        assert record["verdict"] == qa.PASS
        assert record["gates"]["departed"]["value"] == pytest.approx(4 / count)
        assert record["gates"]["coherence"]["verdict"] == qa.NOT_EVALUATED
        assert record["notes"] == [
            "antenna 7 is left out: its amplitude is another in other transits",
            "antenna 104 is left out: phases scatter by 80 deg",
            "antenna 12 is left out: 0.3 of the sources left in polarisation 0",
            "antenna 9 changed within the tile, which was followed: amplitude 0.60 to 1.00",
        ]
    assert judged(where, advisory=[])["verdict"] == qa.FAIL


def test_a_source_far_outside_is_reported_by_what_was_subtracted_over_the_noise(tmp_path):
    seen = {
        "distance_deg": 4.2,
        "significance": 900.0,
        "mean_jy": 0.01,
        "baselines": 90,
        "baselines_all": 120,
    }
    west, east = (seen | {"removed": True, "before_search_jy": jy} for jy in (1.4, 0.8))
    sun = seen | {"distance_deg": 60.0, "removed": True, "mean_jy": 9.0, "baselines": 2}
    far = seen | {"distance_deg": 61.0, "removed": False, "significance": 0.3, "mean_jy": 99.0}
    outside = {"Cyg A west": west, "Cyg A east": east, "Sun": sun, "Tau A": far}
    record = judged(tile(tmp_path / "near", SKY, outside=outside))
    # of 120 baselines 90 see the lobes, 2 the Sun; 0.9 mJy of noise is expected
    expected = ((1.4 + 0.8) * 90 + 9.0 * 2) / 120 / (0.9 * RMS_JY)
    assert record["gates"]["outside"]["value"] == pytest.approx(expected)
    assert (failed(record), record["verdict"]) == ({"outside"}, qa.PASS)
    assert record["notes"] == [
        "Cyg A west, 4 deg away, is in the data and was subtracted",
        "Cyg A east, 4 deg away, is in the data and was subtracted",
        "Sun, 60 deg away, is in the data and was subtracted",
    ]
    record = judged(tile(tmp_path / "far", SKY, outside={"Sun": sun, "Tau A": far}))
    assert (failed(record), record["notes"]) == (set(), [])
    unlooked = judged(tile(tmp_path / "none", SKY, outside=None))
    assert unlooked["gates"]["outside"]["verdict"] == qa.NOT_EVALUATED


def test_weights_that_promise_too_little_noise_are_found_out_by_the_data(tmp_path):
    # 3.5 times the noise that the weights stand for; XX - YY says that the weights are wrong, not the image
    record = judged(tile(tmp_path, SKY, rms_jy=3.2 * RMS_JY, noise_over_weights=1.2))
    assert failed(record) == set()
    assert record["gates"]["rms"]["value"] == pytest.approx(3.2 / (0.9 * 1.2), rel=0.01)


def test_another_transit_of_another_scale_is_told_and_stops_nothing_unless_asked_to(tmp_path):
    where = tile(tmp_path, SKY)
    state = read_json(where / "status.json")
    state["parameters"] = {"interpolated": {"scales": {"t_b": {"fluxes": 1.08, "sefd": 1.08}}}}
    write_json(where / "status.json", state)
    record = judged(where)
    assert failed(record) == {"transit_scale"}
    assert record["verdict"] == qa.PASS
    assert record["metrics"]["transits"]["t_b"]["fluxes"] == 1.08
    assert judged(where, advisory=[])["verdict"] == qa.FAIL
    # gains that changed by 8 %, and were followed
    state["parameters"]["interpolated"]["scales"]["t_b"]["sefd"] = 0.99
    write_json(where / "status.json", state)
    assert failed(judged(where)) == set()


def test_a_long_beam_fails_and_a_gate_that_only_advises_stops_nothing(tmp_path):
    where = tile(tmp_path, SKY)
    assert failed(judged(where, max_axis_ratio=1.5)) == {"beam"}  # 200 x 120 arcsec
    record = judged(where, max_axis_ratio=1.5, advisory=["beam"])
    assert failed(record) == {"beam"}
    assert record["gates"]["beam"]["advisory"]
    assert record["verdict"] == qa.PASS


def rings(image, depth_jy, centre, wcs):
    """Add rings of +- a depth round a place: what wrong phases leave."""
    x, y = wcs.world_to_pixel_values(*centre)
    yy, xx = np.mgrid[: image.shape[0], : image.shape[1]]
    distance = np.hypot(xx - x, yy - y)
    return image + np.where((distance > 8) & (distance < 60), depth_jy * np.cos(distance), 0.0)


def test_holes_round_a_bright_source_fail_artefacts_and_dynamic_range(tmp_path):
    name, ra, dec, _ = SKY[0]
    sources = [(name, ra, dec, 3.0), *SKY[1:]]  # 3000 sigma
    good = judged(tile(tmp_path / "good", sources))
    assert verdicts(good)["artefacts"] == verdicts(good)["dynamic_range"] == qa.PASS
    wcs = WCS(
        {"CTYPE1": "RA---SIN", "CTYPE2": "DEC--SIN", "CRVAL1": 130.0, "CRVAL2": 55.0,
         "CDELT1": -30 / 3600, "CDELT2": 30 / 3600, "CRPIX1": 129, "CRPIX2": 129, "NAXIS": 2}
    )  # fmt: skip
    record = judged(tile(tmp_path / "bad", sources, alter=lambda image: rings(image, 0.3, (ra, dec), wcs)))
    assert {"artefacts", "dynamic_range"} <= failed(record)
    assert (
        record["gates"]["artefacts"]["value"] > 0.1
    )  # of the peak at the beam's centre; more round fainter sources


def test_noise_alone_does_not_limit_the_dynamic_range(tmp_path):
    # some 210 σ: over the rms round it that is below the limit of 300, and noise is all that is there
    name, ra, dec, _ = SKY[0]
    faint = [(other, *place, min(jy, 0.1)) for other, *place, jy in SKY[1:]]
    record = judged(tile(tmp_path, [(name, ra, dec, 0.3), *faint]))
    assert verdicts(record)["dynamic_range"] == qa.PASS
    assert record["gates"]["dynamic_range"]["value"] > 500


def test_faint_fields_have_no_dynamic_range(tmp_path):
    record = judged(tile(tmp_path, sky(flux_jy=(0.02, 0.1))))  # 100 sigma at most
    assert verdicts(record)["artefacts"] == verdicts(record)["dynamic_range"] == qa.NOT_EVALUATED


def test_an_image_with_as_many_holes_as_sources_is_not_reliable(tmp_path):
    beam, rng = Beam(), np.random.default_rng(3)

    def with_holes(image):
        yy, xx = np.mgrid[:256, :256].astype(float)
        for x, y in rng.uniform(60, 190, (20, 2)):
            image = image - 20 * RMS_JY * gaussian(xx - x, yy - y, beam, 30.0)
        return image

    record = judged(tile(tmp_path, SKY, alter=with_holes))
    assert "reliability" in failed(record)
    assert record["gates"]["reliability"]["value"] < 0.7


@pytest.mark.parametrize(
    ("gates", "changes"),
    [
        ({"flux_ratio", "catalogue_scale"}, {"flux": 1.2}),
        ({"flux_ratio", "catalogue_scale"}, {"flux": 0.8}),
        ({"catalogue_scale"}, {"flux": 1.04}),  # 4 % less 3 σ of 30 sources, 3 % each: told only
        ({"position_offset"}, {"east_arcsec": 60.0}),  # half of the minor axis
    ],
)
def test_what_disagrees_with_the_catalogue_fails(tmp_path, gates, changes):
    record = judged(tile(tmp_path, SKY), catalog=catalogue(tmp_path, **changes))
    assert failed(record) == gates


def test_places_that_are_stretched_fail_though_their_median_is_right(tmp_path):
    # 40 arcsec a degree toward north, 20 deg off the major axis of 200 arcsec: 0.188 of it
    stretched = [(name, ra, dec + 40 / 3600 * (dec - 55.0), jy) for name, ra, dec, jy in SKY]
    record = judged(tile(tmp_path, SKY), catalog=catalogue(tmp_path, stretched))
    assert failed(record) == {"position_gradient"}
    assert record["gates"]["position_gradient"]["value"] == pytest.approx(0.188, abs=0.03)


def test_the_gradient_of_the_places_fitted_goes_before_that_of_the_image(tmp_path):
    shift = {"east_arcsec": 4.0, "north_arcsec": 0.0, "error_arcsec": 0.1, "taken_out": True}
    found = {"beam_per_deg": 0.23, "error": 0.004, "n_sources": 25}
    record = judged(tile(tmp_path, SKY, shift=shift | {"gradient": found}), catalog=catalogue(tmp_path))
    assert failed(record) == {"position_gradient"}
    # Student's t of 22 degrees of freedom has 3.4 errors where a normal deviate has 3
    assert record["gates"]["position_gradient"]["value"] == pytest.approx(0.23 - 3.4 * 0.004, abs=0.001)
    first, second = record["notes"]
    assert first.startswith("positions: corrected for +4.0 arcsec east")
    assert second.startswith("positions: offsets from the catalogue change by 0.230 ± 0.004 beam a degree")


@pytest.mark.parametrize(
    ("gate", "diameter_m", "north_deg"), [("beam_slope", 4.43, 0.0), ("pointing", 4.65, 0.1)]
)
def test_fluxes_that_change_over_the_beam_fail_though_their_median_is_right(
    tmp_path, gate, diameter_m, north_deg
):
    # the catalogue of a sky that another beam than the image's would have shown
    changed = []
    for name, ra, dec, jy in SKY:
        east, north = (ra - 130.0) * np.cos(np.radians(dec)), dec - 55.0
        true = airy(np.hypot(east, north - north_deg) * diameter_m / 4.65)
        changed.append((name, ra, dec, jy * airy(np.hypot(east, north)) / true))
    record = judged(tile(tmp_path, SKY), catalog=catalogue(tmp_path, changed))
    assert failed(record) == {gate}
    assert "target `beam`" in " ".join(record["notes"])
    if gate == "pointing":
        assert record["metrics"]["scale"]["north_deg"][0] == pytest.approx(0.1, abs=0.02)


def test_the_table_says_what_its_columns_are_and_offsets_are_from_the_catalogue(tmp_path):
    judged(tile(tmp_path, SKY), catalog=catalogue(tmp_path, east_arcsec=20.0))
    table = pd.read_parquet(tmp_path / "sources.parquet").dropna(subset="name")
    assert set(table) == set(COLUMNS)
    # a catalogue 20 arcsec too far east: places less its own are 20 to the west; a pixel is 30 arcsec
    assert table["offset_east_arcsec"].median() == pytest.approx(-20.0, abs=0.5)
    along = np.hypot(200 * table["offset_major_beam"], 120 * table["offset_minor_beam"])
    assert along.median() == pytest.approx(20.0, abs=0.5)
    said = tables.about(tmp_path / "sources.parquet")
    assert said["columns"]["flux_jy"]["unit"] == "Jy"
    assert (said["freq_hz"], said["bmaj_arcsec"]) == (1.4e9, pytest.approx(200.0))


@pytest.mark.parametrize("faint", [1.0, 0.4])
def test_the_peaks_of_resolved_sources_are_not_held_against_their_fluxes(tmp_path, faint):
    """Twelve points and eighteen sources of 1.44 times the beam's area, of 50 to 500 σ, or from 20 σ on."""
    points = [(name, ra, dec, faint * flux) for name, ra, dec, flux in SKY[:12]]
    wide = [(name, ra, dec, faint * flux) for name, ra, dec, flux in SKY[12:]]
    wcs, beam = tile_wcs(130.0, 55.0, 256), Beam()
    broad = Beam(1.2 * beam.major_arcsec, 1.2 * beam.minor_arcsec, beam.pa_deg)
    yy, xx = np.mgrid[:256, :256]

    def with_wide(image):
        for _, ra, dec, flux in wide:
            x, y = wcs.all_world2pix(ra, dec, 0)
            apparent = flux / 1.2**2 * airy(separation_deg(x, y, wcs))
            image = image + apparent * gaussian(xx - x, yy - y, broad, 30.0)
        return image

    where = tile(tmp_path, points, alter=with_wide)
    record = judged(where, catalog=catalogue(tmp_path, [*points, *wide]))
    # the median of all would be 1 / 1.3; that of points of 20 σ and more is good to 1.25 x 3 % / √12
    assert record["gates"]["flux_ratio"]["value"] == pytest.approx(1.0, abs=0.01 if faint == 1.0 else 0.03)
    table = pd.read_parquet(tmp_path / "sources.parquet").dropna(subset="name").set_index("name")
    assert table.loc[[name for name, *_ in points], "compact"].mean() > 0.9
    seen = [name for name, *_ in wide if table.loc[name, "snr"] > 25]
    assert len(seen) > 10
    # 1.21 times what a point holds: 4 σ of its error and the 5 % at an S/N of 25
    assert not table.loc[seen, "compact"].any()


def test_fluxes_and_places_that_scatter_fail_though_their_medians_are_right(tmp_path):
    rng = np.random.default_rng(8)
    flux = rng.normal(1.0, 0.4, len(SKY)).clip(0.3)
    wrong = [
        (name, ra, dec + rng.normal(0, 70 / 3600), jy / scale)
        for (name, ra, dec, jy), scale in zip(SKY, flux, strict=True)
    ]
    record = judged(
        tile(tmp_path, SKY), catalog=catalogue(tmp_path, wrong), max_flux_ratio=2.0, min_flux_ratio=0.1,
        max_position_offset=1.0,
    )  # fmt: skip
    assert {"flux_scatter", "position_scatter"} <= failed(record)


def test_completeness_counts_what_should_be_seen_where_it_is(tmp_path):
    # ten more in the catalogue: five too faint to be seen, five of 30 mJy (30 sigma) that are not there
    extra = sky(36)[30:]
    faint = [(f"F{i}", ra, dec, 0.002) for i, (_, ra, dec, _) in enumerate(extra)]
    outside = [("far", 130.0, 57.9, 5.0)]  # where the primary beam is below 0.2
    where = tile(tmp_path, SKY)
    assert judged(where, catalog=catalogue(tmp_path, [*SKY, *faint, *outside]))["verdict"] == qa.PASS
    absent = [(f"A{i}", ra, dec, 0.1) for i, (_, ra, dec, _) in enumerate(extra)]
    record = judged(where, catalog=catalogue(tmp_path, [*SKY, *absent]))
    assert failed(record) == {"completeness"}
    assert record["gates"]["completeness"]["value"] == pytest.approx(30 / 36)


def test_bright_detections_that_the_catalogue_lacks_fail(tmp_path):
    # the catalogue reaches to 50 mJy; a tenth brighter than twice that is the limit
    record = judged(tile(tmp_path, SKY), catalog=catalogue(tmp_path, SKY[:15] + SKY[25:]))
    assert failed(record) == {"counterparts"}


def test_too_few_sources_are_not_judged(tmp_path):
    record = judged(tile(tmp_path, SKY[-3:]), catalog=catalogue(tmp_path, SKY[-3:]))
    for name in ("flux_ratio", "completeness", "position_offset", "reliability"):
        assert record["gates"][name]["verdict"] == qa.NOT_EVALUATED
        assert "min_sources 5" in record["gates"][name]["reason"]


def test_a_rejected_tile_fails_without_gates_and_keeps_its_reason(tmp_path):
    where = tile(tmp_path, SKY[:1])
    (where / "status.json").write_text('{"status": "rejected", "reason": "conversion: all zero"}')
    record = judged(where)
    assert (record["verdict"], record["gates"]) == (qa.FAIL, {})
    assert record["reason"] == "rejected: conversion: all zero"
    assert pd.read_parquet(tmp_path / "sources.parquet").empty


def test_failed_products_are_told_with_their_reason(tmp_path):
    judged(tile(tmp_path, SKY, flag_fraction=0.9))
    (where,) = qa.stopped([tmp_path / "verdict.json"])
    assert where == str(tmp_path / "2025-10-30T12:00:00")
    assert qa.stopped([tmp_path / "verdict.json"])[where] == "qa: flags 0.9, limit 0.7"
    judged(tmp_path / "2025-10-30T12:00:00", max_flagged=0.95)
    assert qa.stopped([tmp_path / "verdict.json"]) == {}


def mosaic_verdict(tmp_path, where, tile_record, **options):
    """Judge a tile's planes as if they were a mosaic of it and another like it."""
    folder = tmp_path / "mosaics/2025-10-30/0840+55"
    folder.mkdir(parents=True)
    for suffix, plane in (("", "pbcor"), (".rms", "rms"), (".weights", "rms")):
        (folder / f"0840+55{suffix}.fits").write_bytes((where / f"{where.name}.{plane}.fits").read_bytes())
    tiles = [{"tile": where.name, "status": "ok", "weight": 1.0, "path": tile_record["product"]}]
    write_json(
        folder / "status.json",
        {
            "status": "ok",
            "reason": None,
            "tiles": tiles,
            "metrics": {"rms_median_jy": 1e-3, "mjd_mean": 60978.5},
        },
    )
    job = QaMosaic(
        directory=str(folder),
        verdict=str(tmp_path / "mosaic.json"),
        sources=str(tmp_path / "mosaic.parquet"),
        catalog=None,
        options=QaOptions(**options),
        tile_verdicts=(str(tmp_path / "verdict.json"),),
    )
    job.make()
    return read_json(tmp_path / "mosaic.json")


def test_a_mosaic_is_held_to_the_noise_of_its_tiles(tmp_path):
    where = tile(tmp_path, SKY)
    record = mosaic_verdict(tmp_path, where, judged(where))
    assert record["verdict"] == qa.PASS
    # its own noise is what its rms map says, so the ratio is the tile's: 1 mJy over 0.9 and confusion
    assert record["gates"]["rms"]["value"] == pytest.approx(1 / 0.9, rel=0.06)
    assert record["metrics"]["n_tiles"] == 1


def test_a_mosaic_that_is_noisier_than_its_rms_map_fails(tmp_path):
    where = tile(tmp_path, SKY, alter=lambda image: 4 * image)
    assert "rms" in failed(mosaic_verdict(tmp_path, where, judged(where)))


def test_closed_forms():
    assert expected_rms_jy(3e-3, 1.0, 4e-3) == pytest.approx(5e-3)
    assert expected_rms_jy(3e-3, float("nan"), 0.0) == pytest.approx(3e-3)
    assert confusion_jy(60.0, 60.0, 1e9) == pytest.approx(0.2e-3)
    assert uniformity(np.ones((3, 4))) == pytest.approx(1.0)
    assert uniformity(np.array([1.0, 0.0, 0.0, 0.0])) == pytest.approx(0.25)
    # sigma^2 = SEFD^2 / (2 B t): 6500 Jy, 1 MHz, 12 s
    weight = 2 * 1e6 * 12 / 6500**2
    assert sefd_jy(10 * weight, 10, 1e6, 12.0) == pytest.approx(6500)
    assert (reliability(20, 0), reliability(20, 1)) == (1.0, pytest.approx(1 - 0.0513 / 20, abs=1e-4))
    assert reliability(1000, 100) == pytest.approx(0.916, abs=0.002)  # 100 - 1.645 x 10, and skewness
    rng = np.random.default_rng(0)
    ratio, errors = pd.Series(rng.normal(1, 0.05, 4000)), pd.Series(np.full(4000, 0.03))
    assert excess_scatter(ratio, errors) == pytest.approx(0.04, abs=0.004)
    assert excess_scatter(ratio, errors * 3) == 0.0


def test_the_sun_and_predicted_earth_rotation_are_told():
    # 2025-10-30T20:00 UTC is near noon in California: declination -14, so 39 deg high at latitude 37.2
    noon = Pointing(60978.83, 130.0, 55.0, -118.28, 37.23, 1188.0)
    altitude, _ = sun(noon)
    assert altitude == pytest.approx(90 - 37.23 - 14.0, abs=0.7)
    assert any(line.startswith("by day: Sun 39 deg high") for line in notes(noon))
    assert notes(NIGHT) == []
    # toward the Sun itself, 14h20m -13.9 that day
    assert sun(Pointing(60978.83, 215.4, -13.9, -118.28, 37.23, 1188.0))[1] < 0.5


@pytest.mark.parametrize("scale", [1.0, 1.4])
def test_the_noise_is_measured_under_any_sky(scale):
    # 50 baselines x 64 channels x 19 differences, each with two degrees of freedom: the median baseline's mean
    # square is known to 1.25 / sqrt(50 x 64 x 19 / 2) = 0.7 % (neighbours share a time), its root to half of that
    rng = np.random.default_rng(4)
    shape, rows = (60, 64, 2), np.arange(50)
    check = PolarisationDifferences(rows, np.array([0, 1]))
    weight = rng.uniform(0.5, 2.0, shape).astype(np.float32)
    sky = 30 * np.exp(2j * np.pi * rng.uniform(size=shape[:2]))[..., None]
    for time in range(20):
        noise = rng.normal(size=(*shape, 2)) @ [1, 1j] / np.sqrt(weight)
        flag = rng.uniform(size=shape) < 0.1
        data = sky * np.exp(1j * time) + scale * noise  # the same fringes in both hands
        data[flag] = 1e6
        check.add(data.astype(np.complex64), weight, flag)
    assert check.ratio() == pytest.approx(scale, rel=0.02)


def test_one_hand_or_one_integration_says_nothing():
    data, weight, flag = (
        np.ones((3, 4, 2), np.complex64),
        np.ones((3, 4, 2), np.float32),
        np.zeros((3, 4, 2), bool),
    )
    single = PolarisationDifferences(np.arange(3), np.array([0]))
    once = PolarisationDifferences(np.arange(3), np.array([0, 1]))
    for check in (single, once):
        check.add(data, weight, flag)
    assert single.ratio() is None
    assert once.ratio() is None
