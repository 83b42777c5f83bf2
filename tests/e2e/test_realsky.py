"""3C286 as the VLA saw it, in the raw format: another array, band and integration time than the DSA-110's."""

import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits

from contimg.core.products import read_json
from contimg.sky.measure import measure

from .conftest import CLONE, snakemake

DATA = CLONE / "tests" / "data" / "realsky"
CATALOGUED_JY = 14.80  # at 1.4 GHz, index -0.47: calibrators.csv


@pytest.fixture(scope="module")
def products(tmp_path_factory):
    tree = tmp_path_factory.mktemp("realsky")
    settings = (f"calibrators={DATA / 'calibrators.csv'}",)
    snakemake("--cores", "2", "image", incoming=DATA / "incoming", products=tree, settings=settings)
    return tree


def test_3c286_has_its_flux_and_place_in_the_tile_that_did_not_calibrate(products):
    first, second = sorted(path.parent for path in products.glob("images/*/*/status.json"))
    tables = read_json(second / "status.json")["caltables"]
    assert first.name in tables[0]  # the other tile calibrates
    image, header = fits.getdata(next(second.glob("*.pbcor.fits")), header=True)
    place = SkyCoord(202.784530, 30.509155, unit="deg")
    (source,) = measure(image, header, SkyCoord([place])).to_dict("records")
    expected = CATALOGUED_JY * (header["RESTFRQ"] / 1.4e9) ** -0.47
    assert source["flux_jy"] == pytest.approx(expected, rel=0.02)
    assert abs(source["offset_major_beam"]) < 0.1
    assert abs(source["offset_minor_beam"]) < 0.1
