import pytest
from astropy.table import Table

from contimg.catalog import TYPICAL_SPECTRAL_INDEX, sources_near
from contimg.errors import InputError


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
    found = sources_near(path, ra_deg=0.0, dec_deg=60.0, radius_deg=3.0, min_flux_jy=0.1)
    assert [source.name for source in found] == ["b", "a"]
    assert found[0].flux_jy == pytest.approx(1.5)
    assert found[0].spectral_index == TYPICAL_SPECTRAL_INDEX


def test_a_missing_column_is_named(tmp_path):
    path = write(tmp_path / "t.csv", name=["a"], RAJ2000=[1.0], dec_deg=[2.0], flux_jy=[1.0])
    with pytest.raises(InputError, match=r"ra_deg not found among name, RAJ2000"):
        sources_near(path, ra_deg=0, dec_deg=0, radius_deg=1, min_flux_jy=0)


def test_what_is_no_table_is_said(tmp_path):
    path = tmp_path / "t.fits"
    path.write_text("not a table")
    with pytest.raises(InputError, match="expected a table that astropy reads"):
        sources_near(path, ra_deg=0, dec_deg=0, radius_deg=1, min_flux_jy=0)
