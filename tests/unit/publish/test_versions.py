import json
import shutil

import numpy as np
import pandas as pd
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.io.votable import parse_single_table
from astropy.table import Table
from astropy.wcs import WCS
from mocpy import MOC

from builders.published_mosaics import DATE, TILES, grid_header, plant_mosaic
from contimg.cli.main import main
from contimg.core import names
from contimg.core.errors import InputError, Rejected, SystemFault
from contimg.core.products import read_json, write_json
from contimg.publish.coverage import coverage
from contimg.publish.job import ListPublished, PublishMosaic
from contimg.publish.listing import write_listing
from contimg.publish.versions import damaged, digests, publish, published_versions, withdraw

PATH = f"mosaics/{DATE}/0830+55"
FOLDER = f"published/{DATE}/0830+55"
STEM = f"0830+55_{DATE}.v1"


@pytest.fixture
def tree(tmp_path):
    yield tmp_path
    for path in tmp_path.rglob("v*"):  # read-only directories
        if path.is_dir():
            path.chmod(0o755)


def published(tree, **changes):
    return publish(PATH, plant_mosaic(tree, **changes), "start: null\n", tree=tree)


def test_a_version_holds_the_pixels_and_is_read_only(tree):
    version = published(tree)
    assert version.path == tree / FOLDER / "v1"
    expected = fits.getdata(tree / PATH / "0830+55.fits")
    np.testing.assert_array_equal(fits.getdata(version.path / f"{STEM}.fits"), expected)
    assert all(path.stat().st_mode & 0o222 == 0 for path in (version.path, *version.path.iterdir()))


def test_the_manifest_has_every_file_and_tells_damage(tree):
    version = published(tree)
    named = {entry["name"] for entry in version.manifest["files"]}
    assert named == {path.name for path in version.path.iterdir()} - {"manifest.json"}
    assert version.manifest["gates"]["rms"]["value"] == 1.1
    assert version.manifest["remake"][-1].endswith(f"{PATH} --configfile {FOLDER}/v1/config.yaml")
    assert damaged(version) == []
    picture = version.path / f"{STEM}.png"
    picture.chmod(0o644)
    picture.write_bytes(b"Picture")
    (version.path / "config.yaml").chmod(0o644)
    (version.path / "config.yaml").write_text("shorter")
    assert [line.partition(": ")[2] for line in damaged(version)] == [
        "another SHA-256 than the manifest's",
        "7 bytes, expected 12",
    ]


def test_a_mosaic_written_at_another_time_is_the_same_and_another_pixel_is_not(tmp_path):
    seen = []
    for date, pixel in (
        ("2025-10-30T14:00:00", 1.0),
        ("2025-11-01T09:30:00", 1.0),
        ("2025-10-30T14:00:00", 1.5),
    ):
        header = fits.Header({"BUNIT": "Jy/beam", "DATE": date, "DATE-OBS": "2025-10-30T13:00:00"})
        fits.writeto(tmp_path / "0830+55.fits", np.full((50, 70), pixel), header, overwrite=True)
        seen.append(digests(tmp_path)["0830+55.fits"])
    assert seen[0] == seen[1] != seen[2]
    fits.writeto(tmp_path / "0830+55.fits", np.ones((50, 70)), fits.Header({"BUNIT": "K"}), overwrite=True)
    assert digests(tmp_path)["0830+55.fits"] != seen[0]


def test_headers_are_standard_whole_and_checked(tree):
    version = published(tree)
    for plane in ("", ".weights", ".rms"):
        with fits.open(version.path / f"{STEM}{plane}.fits", checksum=True) as hdus:
            hdus.verify("exception")
            header = hdus[0].header
            assert {"CHECKSUM", "DATASUM"} <= set(header)
    assert header["OBS_ID"] == f"0830+55_{DATE}"
    assert header["EXPTIME"] == pytest.approx(2 * 309, abs=0.01)
    assert (header["FREQMIN"], header["FREQMAX"]) == (1.31e9, 1.5e9)
    assert (header["RADESYS"], header["EQUINOX"], header["INSTRUME"]) == ("ICRS", 2000.0, "DSA-110")
    place = WCS(header).pixel_to_world(60, 40)
    assert place.icrs.separation(SkyCoord(127.5, 55.0, unit="deg")).arcsec < 1e-6


def test_the_same_pixels_are_the_same_version_and_others_the_next(tree):
    first = published(tree)
    before = (first.path / "manifest.json").read_bytes()
    assert published(tree).number == 1
    second = published(tree, flux_jy=2.0)
    assert second.number == 2
    assert (first.path / "manifest.json").read_bytes() == before
    assert fits.getdata(first.path / f"{STEM}.fits")[40, 60] == 1.0
    index = write_listing(tree / "published" / DATE)
    assert [entry["state"] for entry in index["products"]["0830+55"]] == ["superseded", "current"]


def test_an_interrupted_publication_leaves_no_version(tree, monkeypatch):
    def fails(*_args, **_options):
        raise OSError("the disk is full")

    verdict = plant_mosaic(tree)
    with monkeypatch.context() as patch:
        patch.setattr("contimg.publish.versions.shutil.copyfile", fails)
        with pytest.raises(OSError, match="disk is full"):
            publish(PATH, verdict, "", tree=tree)
    assert list((tree / FOLDER).iterdir()) == []
    assert publish(PATH, verdict, "", tree=tree).number == 1


def test_a_withdrawn_version_leaves_a_record_and_does_not_come_back(tree):
    version = published(tree)
    record = read_json(withdraw(tree / FOLDER, 1, "flux scale 20 % low", tree=tree))
    assert record["reason"] == "flux scale 20 % low"
    assert record["manifest"] == version.manifest
    assert not version.path.exists()
    assert (tree / "state" / "withdrawn" / DATE / "0830+55" / "v1" / f"{STEM}.fits").is_file()
    with pytest.raises(Rejected, match="version 1 is the same and was withdrawn: flux scale 20 % low"):
        published(tree)
    assert published(tree, flux_jy=1.2).number == 2
    index = write_listing(tree / "published" / DATE)
    assert [entry["state"] for entry in index["products"]["0830+55"]] == ["withdrawn", "current"]


def test_a_withdrawal_that_was_interrupted_is_finished_by_the_next(tree):
    version = published(tree)
    with pytest.raises(InputError, match="found no version 7"):
        withdraw(tree / FOLDER, 7, "x", tree=tree)
    kept = shutil.copytree(version.path, tree / "copy")
    withdraw(tree / FOLDER, 1, "first reason", tree=tree)
    shutil.rmtree(tree / "state" / "withdrawn")
    shutil.copytree(kept, version.path)
    assert published_versions(tree / FOLDER)[0].withdrawn == "first reason"
    withdraw(tree / FOLDER, 1, "second reason", tree=tree)
    assert published_versions(tree / FOLDER)[0].withdrawn == "first reason"
    assert not version.path.exists()


def test_the_listing_is_an_obscore_table_of_the_current_versions(tree):
    published(tree)
    published(tree, flux_jy=2.0)
    other = f"mosaics/0834+555/{DATE}"
    publish(other, plant_mosaic(tree, other), "", tree=tree)
    write_listing(tree / "published" / DATE)
    for name, how in (("obscore.csv", "ascii.csv"), ("obscore.vot", "votable")):
        table = Table.read(tree / "published" / DATE / name, format=how)
        urls = [str(url) for url in table["access_url"]]
        assert urls == [
            f"0830+55/v2/0830+55_{DATE}.v2.fits",
            f"0834+555_{DATE}/v1/0834+555_{DATE}.v1.fits",
        ]
        assert all((tree / "published" / DATE / url).is_file() for url in urls)
        row = table[0]
        assert row["s_ra"] == pytest.approx(
            127.5, abs=0.05
        )  # the middle lies half a pixel from the reference
        assert row["em_min"] == pytest.approx(299792458 / 1.5e9)
        assert row["t_max"] - row["t_min"] == pytest.approx(618 / 86400, abs=1e-9)
        assert row["s_resolution"] == pytest.approx(3600 * np.sqrt(0.01 * 0.005))
    moc = MOC.from_fits(tree / "published" / DATE / "coverage.moc.fits")
    assert moc.contains_lonlat(127.5 * u.deg, 55.0 * u.deg)


def test_the_coverage_has_the_area_and_the_border_of_the_data():
    header = grid_header()
    y, x = np.mgrid[:80, :120]
    finite = (x - 60) ** 2 + (y - 40) ** 2 < 35**2
    moc = coverage(finite, WCS(header))
    # Cells at the border are in or out as a whole: of the circle of 35 pixels of 2' (1.17 deg) with cells of 1.7' the
    # area has an error of about the cell over the radius, divided by the root of the number of cells along the border.
    area = moc.sky_fraction * 4 * np.pi * np.rad2deg(1) ** 2
    assert area == pytest.approx(np.pi * (35 / 30) ** 2, rel=0.01)
    centre = SkyCoord(127.5, 55.0, unit="deg")
    for angle in (0, 60, 120, 180, 240, 300):
        inside, outside = (centre.directional_offset_by(angle * u.deg, r * u.deg) for r in (1.11, 1.22))
        assert moc.contains_lonlat(inside.ra, inside.dec)
        assert not moc.contains_lonlat(outside.ra, outside.dec)


def test_the_coverage_of_an_image_without_data_is_empty():
    assert coverage(np.zeros((80, 120), dtype=bool), WCS(grid_header())).empty()


def job(name="0830+55", path=PATH):
    return PublishMosaic(path, f"qa/{DATE}/{name}.json", names.receipt(DATE, name), {"start": None})


def test_the_receipt_says_where_or_why_not(tree, monkeypatch):
    monkeypatch.chdir(tree)
    plant_mosaic(tree)
    assert job().make() == f"published as {FOLDER}/v1"
    receipt = read_json(tree / names.receipt(DATE, "0830+55"))
    assert receipt["published"] == f"{FOLDER}/v1"
    assert ListPublished(DATE, names.published_list(DATE)).make() == f"1 products are published of {DATE}"
    assert read_json(tree / names.published_list(DATE))["current"] == ["0830+55"]
    plant_mosaic(tree, verdict="rms 5, limit 3")
    with pytest.raises(Rejected, match="qa: rms 5, limit 3"):
        job().make()
    job().reject("qa: rms 5, limit 3")
    assert read_json(tree / names.receipt(DATE, "0830+55"))["status"] == "rejected"


def test_a_date_of_which_nothing_passed_has_an_empty_list(tree, monkeypatch):
    monkeypatch.chdir(tree)
    assert ListPublished(DATE, names.published_list(DATE)).make() == f"0 products are published of {DATE}"


@pytest.mark.parametrize("named", [PATH, FOLDER, f"{FOLDER}/v1"])
def test_the_command_withdraws_what_it_is_given(tree, capsys, named):
    published(tree)
    command = ["withdraw", named, "--products", str(tree), "--reason", "wrong gains"]
    assert main(command) == 0
    assert "version 1 is withdrawn" in capsys.readouterr().out
    index = json.loads((tree / "published" / DATE / "index.json").read_text())
    assert index["products"]["0830+55"][0]["reason"] == "wrong gains"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([f"images/{DATE}/{TILES[0]}", "--reason", "x"], "expected mosaics/{date}/{mosaic} or published"),
        ([PATH, "--reason", " "], "--reason: found nothing"),
        ([f"mosaics/{DATE}/0900+55", "--reason", "x"], "nothing was published there"),
        ([f"{FOLDER}/latest", "--reason", "x"], "expected a version such as v1, found latest"),
    ],
)
def test_a_withdrawal_that_cannot_be_says_why(tree, capsys, arguments, said):
    assert main(["withdraw", *arguments, "--products", str(tree)]) == 2
    assert said in capsys.readouterr().err


def test_a_version_carries_its_catalogue(tree):
    """QA's places, measured: the source of one pixel at the middle."""
    verdict = plant_mosaic(tree)
    sky = WCS(fits.getheader(tree / PATH / "0830+55.fits")).pixel_to_world(60, 40)
    places = pd.DataFrame({"ra_deg": [sky.ra.deg], "dec_deg": [sky.dec.deg]})
    places.to_parquet(tree / f"qa/{DATE}/0830+55.sources.parquet")
    version = publish(PATH, verdict, "photometry: {calibration_error: 0.1}\n", tree=tree)
    assert version.manifest["catalogue"] == {"n_sources": 1}
    table = parse_single_table(version.path / f"{STEM}.sources.vot")
    assert {field.name: str(field.unit) for field in table.fields}["flux_err_jy"] == "Jy"
    assert {info.name: info.value for info in table.infos}["freq_hz"] == "1405000000.0"
    (row,) = pd.read_parquet(version.path / f"{STEM}.sources.parquet").to_dict("records")
    assert row["flux_jy"] == pytest.approx(1.0)
    assert row["cal_err_jy"] == pytest.approx(0.1)


def test_what_is_published_is_what_qa_judged(tree):
    verdict = plant_mosaic(tree)
    with fits.open(tree / PATH / "0830+55.fits", mode="update") as hdus:
        hdus[0].data[40, 60] = 7.0
    with pytest.raises(InputError, match="its files are not those that QA judged"):
        publish(PATH, verdict, "", tree=tree)
    assert published_versions(tree / FOLDER) == []


def test_old_pixels_that_come_again_become_the_current_version(tree):
    """A, B, A: what the newest receipt names is what the lists call current."""
    for flux_jy in (1.0, 2.0, 1.0):
        last = published(tree, flux_jy=flux_jy)
    index = write_listing(tree / "published" / DATE)
    states = {entry["version"]: entry["state"] for entry in index["products"]["0830+55"]}
    assert states == {1: "superseded", 2: "superseded", last.number: "current"}


def test_a_damaged_version_is_not_taken_for_the_publication(tree):
    first = published(tree)
    path = first.path / f"{STEM}.fits"
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:-1])
    assert published(tree).number == 2


def lose_tile(tree, reason):
    """The mosaic once more, without its second tile; returns the verdict on it."""
    verdict = plant_mosaic(tree, flux_jy=1.5)
    state = read_json(tree / PATH / "status.json")
    state["tiles"][1] |= {"status": "rejected", "reason": reason}
    write_json(tree / PATH / "status.json", state)
    return verdict


def test_a_mosaic_that_lacks_tiles_for_an_error_never_supersedes_one_that_had_them(tree):
    published(tree)
    verdict = lose_tile(tree, "error: its job was killed 3 times")
    with pytest.raises(Rejected, match=rf"^error: tile {TILES[1]} is missing .* version 1 has: that stays"):
        publish(PATH, verdict, "", tree=tree)
    assert publish(PATH, lose_tile(tree, "no solution"), "", tree=tree).number == 2  # a result


def test_the_same_command_finishes_a_withdrawal_wherever_it_was_interrupted(tree, capsys, monkeypatch):
    command = ["withdraw", PATH, "--products", str(tree), "--reason", "wrong gains"]
    published(tree)
    write_listing(tree / "published" / DATE)

    class Killed(BaseException):
        pass

    def killed(*_):
        raise Killed

    for what in ("contimg.publish.versions.os.rename", "contimg.publish.listing.write_listing"):
        with monkeypatch.context() as patch:
            patch.setattr(what, killed)
            with pytest.raises(Killed):
                main(command)
    assert main(command) == 0
    assert "version 1 is withdrawn" in capsys.readouterr().out
    assert not (tree / FOLDER / "v1").exists()
    index = read_json(tree / "published" / DATE / "index.json")
    assert [entry["state"] for entry in index["products"]["0830+55"]] == ["withdrawn"]
    assert main(command) == 2
    assert "every version is withdrawn already" in capsys.readouterr().err


def test_a_version_that_another_publisher_made_meanwhile_is_never_written_over(tree, monkeypatch):
    """Two hosts of a file system without locks."""
    from contimg.publish import versions

    verdict, fill = plant_mosaic(tree), versions._fill

    def overtaken(part, *arguments):
        fill(part, *arguments)
        theirs = tree / FOLDER / "v1"
        theirs.mkdir()
        (theirs / "manifest.json").write_text("theirs")

    with monkeypatch.context() as patch:
        patch.setattr(versions, "_fill", overtaken)
        with pytest.raises(SystemFault, match="somebody else has made it meanwhile, and it stays"):
            publish(PATH, verdict, "", tree=tree)
    assert [path.name for path in (tree / FOLDER).iterdir()] == ["v1"]
    assert (tree / FOLDER / "v1" / "manifest.json").read_text() == "theirs"
