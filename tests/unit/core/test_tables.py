"""Tables say what their columns are, and are read as any other parquet file."""

import pandas as pd

from contimg.core import tables


def test_a_table_says_what_its_columns_are_and_is_read_as_before(tmp_path):
    frame = pd.DataFrame({"flux_jy": [1.0, 2.0], "name": ["a", "b"]}, index=[3, 5])
    columns = {"flux_jy": ("Jy", "flux density"), "name": ("", "name"), "other": ("m", "not here")}
    tables.write(tmp_path / "t.parquet", frame, columns, {"freq_hz": 1.4e9})
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "t.parquet"), frame)
    said = tables.about(tmp_path / "t.parquet")
    assert said["columns"] == {
        "flux_jy": {"unit": "Jy", "description": "flux density"},
        "name": {"unit": "", "description": "name"},
    }
    assert said["freq_hz"] == 1.4e9


def test_a_table_of_another_program_says_nothing(tmp_path):
    pd.DataFrame({"a": [1]}).to_parquet(tmp_path / "t.parquet")
    assert tables.about(tmp_path / "t.parquet") == {}
