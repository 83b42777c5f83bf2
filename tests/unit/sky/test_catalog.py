import pytest
from astropy.table import Table

from contimg.config.model import Config
from contimg.core.errors import InputError
from contimg.sky.catalog import Catalog, sources_near
from contimg.sky.options import CatalogOptions


def write(path, **columns):
    Table(columns).write(path)
    return path


@pytest.mark.parametrize("suffix", ["fits", "csv", "ecsv"])
def test_sources_near_a_place_are_found_brightest_first_in_any_format(suffix, tmp_path):
    path = write(
        tmp_path / f"nvss.{suffix}",
        name=["a", "b", "far", "faint"],
        ra_deg=[359.9, 0.5, 8.0, 0.0],
        dec_deg=[60.0, 61.0, 60.0, 60.0],
        flux_jy=[0.4, 1.5, 9.0, 0.01],
    )
    found = sources_near(Catalog(path), ra_deg=0.0, dec_deg=60.0, radius_deg=3.0, min_flux_jy=0.1)
    assert [source.name for source in found] == ["b", "a"]
    assert found[0].flux_jy == pytest.approx(1.5)
    assert found[0].spectral_index == CatalogOptions().typical_spectral_index
    assert found[0].origin == path.name


def test_columns_units_and_frequency_of_a_survey_are_brought_to_the_pipelines(tmp_path):
    path = write(tmp_path / "racs.csv", Source=["one"], RA=[120.5], DEC=[-3.25], Total=[250.0], E_Total=[5.0])
    named = {"name": "Source", "ra_deg": "RA", "dec_deg": "DEC", "flux_jy": "Total", "flux_err_jy": "E_Total"}
    options = CatalogOptions(**named, flux_unit="mJy", freq_mhz=700.0, typical_spectral_index=-1.0)
    (row,) = Catalog(path, options).read().to_dict("records")
    # one octave up at spectral index -1: half the flux
    assert row == pytest.approx(
        {
            "name": "one",
            "ra_deg": 120.5,
            "dec_deg": -3.25,
            "flux_jy": 0.125,
            "flux_err_jy": 0.0025,
            "spectral_index": -1.0,
        }
    )


def test_units_that_a_table_states_win_over_the_assumed_one(tmp_path):
    table = Table({"name": ["a"], "ra_deg": [2.0], "dec_deg": [60.0], "flux_jy": [300.0]})
    table["ra_deg"].unit, table["dec_deg"].unit, table["flux_jy"].unit = "hourangle", "arcmin", "mJy"
    table.write(tmp_path / "t.ecsv")
    (row,) = Catalog(tmp_path / "t.ecsv").read().to_dict("records")
    assert (row["ra_deg"], row["dec_deg"], row["flux_jy"]) == pytest.approx((30.0, 1.0, 0.3))


def test_sexagesimal_places_are_read(tmp_path):
    path = write(tmp_path / "t.csv", name=["a"], ra_deg=["08 34 54.9"], dec_deg=["+55 34 21"], flux_jy=[8.8])
    (row,) = Catalog(path).read().to_dict("records")
    assert row["ra_deg"] == pytest.approx(15 * (8 + 34 / 60 + 54.9 / 3600))
    assert row["dec_deg"] == pytest.approx(55 + 34 / 60 + 21 / 3600)


def test_rows_without_a_place_or_a_flux_are_left_out(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("name,ra_deg,dec_deg,flux_jy\ngood,1,2,0.5\nnowhere,,2,0.5\nnegative,1,2,-0.5\n")
    assert list(Catalog(path).read()["name"]) == ["good"]


def test_a_missing_column_is_named_with_the_key_that_names_another(tmp_path):
    path = write(tmp_path / "t.csv", name=["a"], RAJ2000=[1.0], dec_deg=[2.0], flux_jy=[1.0])
    with pytest.raises(InputError, match=r"no column ra_deg among name, RAJ2000.*catalog_table\.ra_deg"):
        Catalog(path).read()
    with pytest.raises(InputError, match=r"no column alpha among"):
        Catalog(path, CatalogOptions(ra_deg="RAJ2000", spectral_index="alpha")).read()


def test_a_column_in_a_unit_of_another_kind_is_refused(tmp_path):
    table = Table({"name": ["a"], "ra_deg": [1.0], "dec_deg": [2.0], "flux_jy": [1.0]})
    table["flux_jy"].unit = "K"
    table.write(tmp_path / "t.ecsv")
    with pytest.raises(InputError, match=r"column flux_jy is in K, which is no unit like Jy"):
        Catalog(tmp_path / "t.ecsv").read()


def test_what_is_no_table_is_said(tmp_path):
    path = tmp_path / "t.fits"
    path.write_text("not a table")
    with pytest.raises(InputError, match="expected a table that astropy reads"):
        Catalog(path).read()


def test_a_rules_params_hold_all_that_reads_the_catalogue():
    config = Config(catalog="nvss.fits", catalog_table={"flux_unit": "mJy"})
    assert Catalog.of(config.catalog_params) == Catalog(config.catalog, config.catalog_table)
    assert Catalog.of(Config().catalog_params) is None
