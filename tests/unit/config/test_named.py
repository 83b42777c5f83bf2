"""Every file that a configuration names is read with it: a mistake in one costs no run and no good product."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from contimg.config import named
from contimg.config.load import load
from contimg.core.errors import ConfigError, InputError
from contimg.sky.catalog import Catalog

GOOD = "name,ra_deg,dec_deg,flux_jy\na,1,2,3\n"


@pytest.fixture
def here(tmp_path):
    (tmp_path / "raw").mkdir()
    (tmp_path / "products" / "state").mkdir(parents=True)
    return tmp_path


def configuration(here, **more):
    return {"incoming": str(here / "raw"), "products": str(here / "products"), **more}


@pytest.mark.parametrize(
    ("key", "name", "text", "said"),
    [
        ("catalog", "c.csv", "name,ra,dec_deg,flux_jy\na,1,2,3\n", "no column ra_deg among name, ra"),
        (
            "catalog",
            "c.csv",
            "name,ra_deg,dec_deg,flux_jy\na,1,2,bright\n",
            "column flux_jy holds what is no number",
        ),
        (
            "catalog",
            "c.csv",
            "name,ra_deg,dec_deg,flux_jy\na,1,2,-3\n",
            "no row with a place and a positive flux",
        ),
        ("catalog", "c.fits", "no FITS", "expected a table that astropy reads"),
        ("calibrators", "cal.csv", "source,ra\n3C286,202\n", "expected the columns"),
        ("beam", "b.fits", "no FITS", "expected a beam file"),
        ("photometry", "s.csv", "name,ra\na,1\n", "no column ra_deg or dec_deg"),
    ],
)
def test_a_mistake_in_a_named_file_is_told_with_its_key(here, key, name, text, said):
    (here / name).write_text(text)
    inside, more = {"beam": "file", "photometry": "sources"}, {"beam": {"model": "file"}}
    value = {inside[key]: str(here / name), **more.get(key, {})} if key in inside else str(here / name)
    whole = f"{key}.{inside[key]}" if key in inside else key
    with pytest.raises(ConfigError) as error:
        load(configuration(here, **{key: value}))
    message = str(error.value)
    assert message.startswith(f"{whole}: {here / name}")
    assert said in message
    assert "\n" not in message


def test_a_unit_that_is_none_of_a_flux_is_told(here):
    columns = [
        fits.Column("name", "4A", array=np.array(["a"])),
        *(fits.Column(name, "D", unit="deg", array=np.ones(1)) for name in ("ra_deg", "dec_deg", "flux_jy")),
    ]
    fits.BinTableHDU.from_columns(columns).writeto(here / "c.fits")
    with pytest.raises(ConfigError, match=r"catalog: .*column flux_jy is in deg"):
        load(configuration(here, catalog=str(here / "c.fits")))


def test_a_strategy_is_tried_on_a_little_noise(here):
    good = Path(named.__file__).parents[1] / "convert" / "dsa110.lua"
    shutil.copy(good, here / "mine.lua")
    load(configuration(here, flagging={"strategy": str(here / "mine.lua")}))
    (here / "mine.lua").write_text("function execute(data\n")
    with pytest.raises(
        ConfigError, match=r"flagging\.strategy: .*mine\.lua: AOFlagger does not take it: "
    ) as error:
        load(configuration(here, flagging={"strategy": str(here / "mine.lua")}))
    assert "\n" not in str(error.value)


def test_what_was_read_once_is_read_again_only_when_it_or_the_way_to_read_it_changed(here, monkeypatch):
    (here / "c.csv").write_text(GOOD)
    reads = []
    real = Catalog.read
    monkeypatch.setattr(Catalog, "read", lambda catalog: reads.append(1) or real(catalog))
    for _ in range(2):
        load(configuration(here, catalog=str(here / "c.csv")))
    assert len(reads) == 1
    load(configuration(here, catalog=str(here / "c.csv"), catalog_table={"flux_unit": "mJy"}))
    assert len(reads) == 2
    (here / "c.csv").write_text(GOOD.replace("3", "x"))
    with pytest.raises(ConfigError, match="no number"):
        load(configuration(here, catalog=str(here / "c.csv")))
    (here / "products" / "state" / "checked.json").write_text("{")
    (here / "c.csv").write_text(GOOD)
    load(configuration(here, catalog=str(here / "c.csv")))


def test_an_error_in_a_named_file_is_an_error_of_the_configuration_in_a_job_too(here):
    (here / "c.csv").write_text("name\na\n")
    with pytest.raises(ConfigError) as error:
        Catalog(here / "c.csv").read()
    assert isinstance(error.value, InputError)
