"""The photometry table keeps its columns, units and flags, and says why it has no rows."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from contimg.core.errors import InputError
from contimg.photometry import table


def filled(rows: int) -> pd.DataFrame:
    """Rows with another number in each column of numbers, and words in the others."""
    text = {"source_id", "mosaic", "tiles", "caltable", "calibrator"}
    return pd.DataFrame(
        {
            name: [f"{name}{row}" for row in range(rows)] if name in text else np.arange(rows) + number
            for number, name in enumerate(table.NAMES)
        }
    )


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "0830+55.parquet"
    rows = filled(3)
    table.write(path, rows, {"status": "ok", "reason": None})
    back = table.read(path)
    assert list(back) == list(table.NAMES)
    assert back["source_id"].tolist() == rows["source_id"].tolist()
    assert back["tiles"].tolist() == rows["tiles"].tolist()
    for name in ("mjd", "flux_jy", "flags", "freq_hz"):
        np.testing.assert_array_equal(back[name], rows[name])
    assert table.read(path, ["source_id", "flux_jy"]).shape == (3, 2)


def test_the_file_explains_itself(tmp_path: Path) -> None:
    path = tmp_path / "0830+55.parquet"
    table.write(path, filled(1), {"status": "ok", "reason": None, "metrics": {"n_seen": 1}})
    said = table.about(path)
    assert said["metrics"] == {"n_seen": 1}
    assert said["columns"]["flux_jy"]["unit"] == "Jy"
    assert said["columns"]["hour_ut"]["unit"] == "h"
    assert said["flags"]["blended"] == 2


def test_a_rejected_mosaic_leaves_a_reason_and_no_rows(tmp_path: Path) -> None:
    path = tmp_path / "0830+55.parquet"
    table.write(path, table.empty(), {"status": "rejected", "reason": "1 good tile"})
    assert table.read(path).empty
    assert table.about(path)["reason"] == "1 good tile"


def test_the_same_rows_give_the_same_bytes(tmp_path: Path) -> None:
    one, two = tmp_path / "one.parquet", tmp_path / "two.parquet"
    for path in (one, two):
        table.write(path, filled(5), {"status": "ok"})
    assert one.read_bytes() == two.read_bytes()


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="missing band_slope, unknown slope"):
        table.write(tmp_path / "x.parquet", filled(1).rename(columns={"band_slope": "slope"}), {})


def test_another_parquet_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.parquet"
    pd.DataFrame({"a": [1]}).to_parquet(path)
    with pytest.raises(InputError, match="says nothing of itself"):
        table.about(path)
    with pytest.raises(InputError, match="found none of flux_jy"):
        table.read(path, ["flux_jy"])


def test_flags_are_told_by_their_names() -> None:
    assert table.flag_words(0) == ""
    assert table.flag_words(int(table.Flag.EDGE | table.Flag.NOT_SEEN)) == "edge, not seen"
