import argparse
import shutil

import pytest

from builders.published_mosaics import DATE, plant_mosaic
from contimg.cli import unattended
from contimg.cli.main import main
from contimg.cli.numbers import count, number
from contimg.core import names
from contimg.core.products import read_json, status, write_json
from contimg.publish.versions import publish, withdraw

PATH = f"mosaics/{DATE}/0830+55"
FOLDER = f"published/{DATE}/0830+55"


@pytest.fixture
def published(tmp_path):
    """A mosaic, published, with its receipt; the request for it."""
    version = publish(PATH, plant_mosaic(tmp_path), "", tree=tmp_path)
    receipt = tmp_path / names.receipt(DATE, "0830+55")
    write_json(receipt, status(published=f"{FOLDER}/v1", inputs=[PATH]))
    request = tmp_path / "state/requests/A.json"
    write_json(request, {"transit_mjd": 1.0})
    yield tmp_path, read_json(receipt), request
    if version.path.is_dir():
        version.path.chmod(0o755)


def told(published):
    tree, receipt, request = published
    return unattended._told(receipt, PATH, tree, request)


def test_what_is_published_as_it_is_now_is_printed(published, capsys):
    assert told(published) == 0
    assert capsys.readouterr().out == f"{published[0] / FOLDER / 'v1'}\n"


def test_a_withdrawn_version_is_no_result(published, capsys):
    tree = published[0]
    withdraw(tree / FOLDER, 1, "gains of antenna 51 wrong", tree=tree)
    assert told(published) == unattended.REJECTED
    said = capsys.readouterr()
    assert said.out == ""
    assert "it is withdrawn: gains of antenna 51 wrong" in said.err


@pytest.mark.parametrize("how", ["made again", "damaged", "gone"])
def test_a_stale_or_damaged_publication_is_no_result(published, capsys, how):
    tree = published[0]
    version = tree / FOLDER / "v1"
    version.chmod(0o755)
    if how == "made again":
        plant_mosaic(tree, flux_jy=3.0)
    elif how == "damaged":
        picture = next(version.glob("*.png"))
        picture.chmod(0o644)
        picture.write_bytes(b"x")
    else:
        shutil.rmtree(version)
    assert told(published) == unattended.FAILED
    assert capsys.readouterr().out == ""


def test_an_error_names_the_command_that_clears_it(published, capsys):
    tree, receipt, request = published
    assert unattended._told({**receipt, "reason": "error: killed"}, PATH, tree, request) == unattended.FAILED
    assert f"`contimg retry --products {tree}`" in capsys.readouterr().err
    assert request.is_file()


@pytest.mark.parametrize("text", ["nan", "inf", "-inf", "1e400", "-1", "ten", ""])
def test_numbers_of_the_command_line_are_finite_and_in_bounds(text):
    with pytest.raises(argparse.ArgumentTypeError, match="write a number from 0 to 10"):
        number(0, 10)(text)
    with pytest.raises(argparse.ArgumentTypeError, match="write a whole number from 1 to 10"):
        count(1, 10)(text)
    assert number(0, 10)("2.5") == 2.5
    assert count(1, 10)("10") == 10


def test_a_number_that_is_none_ends_with_2(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["unattended", "--calibrator", "A", "--poll-interval", "nan"])
    assert ended.value.code == 2
    assert "found 'nan'; write a number from 0 to 86400" in capsys.readouterr().err
