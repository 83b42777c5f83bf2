"""Light curves come back as they were written, one source or all, from one part or two."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from contimg.core.errors import InputError
from contimg.variability import curves


def rows(sources: list[str], mjds: np.ndarray, seed: int = 1) -> pd.DataFrame:
    """Light curves in which every number is another one."""
    rng = np.random.default_rng(seed)
    n = len(sources) * len(mjds)
    frame = pd.DataFrame({"source_id": np.repeat(sources, len(mjds)), "mjd": np.tile(mjds, len(sources))})
    for column in curves.COLUMNS:
        if column.name in frame:
            continue
        if column.name in curves.WORDS:
            frame[column.name] = [f"{column.name}{k % 7}" for k in range(n)]
        elif pa.types.is_boolean(column.type):
            frame[column.name] = rng.uniform(size=n) < 0.5
        elif pa.types.is_integer(column.type):
            frame[column.name] = rng.integers(0, 100, n).astype(np.int32)
        else:
            frame[column.name] = rng.normal(size=n).astype(column.type.to_pandas_dtype())
    return frame[list(curves.NAMES)]


def same(found: pd.DataFrame, wanted: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(
        found.reset_index(drop=True), wanted.reset_index(drop=True), check_dtype=False
    )


def test_one_source_comes_back_in_order_of_time(tmp_path):
    frame = rows(
        [f"J{k:02d}" for k in range(30)], 60000.0 + np.arange(500.0)
    )  # 15,000 rows: more than one group
    curves.write(tmp_path / "lc", frame.sample(frac=1.0, random_state=2))
    assert pq.ParquetFile(tmp_path / "lc" / "base-0000.parquet").num_row_groups > 1
    same(curves.read_source(tmp_path / "lc", "J17"), frame[frame["source_id"] == "J17"])


def test_a_source_never_measured_has_no_rows(tmp_path):
    curves.write(tmp_path / "lc", rows(["J1"], np.array([60000.0])))
    found = curves.read_source(tmp_path / "lc", "J2")
    assert len(found) == 0
    assert list(found) == list(curves.NAMES)


def test_recent_nights_follow_the_older_ones_and_new_sources_come_last(tmp_path):
    frame = rows(["J1", "J2", "J3"], 60000.0 + np.arange(10.0))
    old = frame[(frame["mjd"] < 60007.0) & (frame["source_id"] != "J3")]
    late = frame.drop(old.index)
    curves.write(tmp_path / "lc", old)
    curves.write(tmp_path / "late", late)
    (tmp_path / "late" / "base-0000.parquet").rename(tmp_path / "lc" / curves.RECENT)
    parts = [pd.read_parquet(tmp_path / name / curves.INDEX) for name in ("lc", "late")]
    parts[1]["part"] = curves.RECENT
    curves.write_index(tmp_path / "lc", parts)
    same(curves.read_source(tmp_path / "lc", "J2"), frame[frame["source_id"] == "J2"])
    blocks = list(curves.read_blocks(tmp_path / "lc"))
    assert [block.source_ids for block in blocks] == [["J1", "J2"], ["J3"]]
    same(pd.concat([block.frame() for block in blocks]), frame)


def test_other_readers_see_one_table(tmp_path):
    frame = rows(["J1", "J2"], 60000.0 + np.arange(3.0))
    curves.write(tmp_path / "lc", frame)
    assert len(pd.read_parquet(tmp_path / "lc")) == len(frame)


def test_a_missing_column_or_table_is_named(tmp_path):
    with pytest.raises(InputError, match="missing flux_norm,"):
        curves.write(tmp_path / "lc", rows(["J1"], np.array([6e4])).drop(columns="flux_norm"))
    with pytest.raises(InputError, match="snakemake lightcurves"):
        curves.read_source(tmp_path / "none", "J1")
    curves.write(tmp_path / "lc", rows(["J1"], np.array([6e4])))
    with pytest.raises(InputError, match="no column flux_nrom"):
        curves.read_source(tmp_path / "lc", "J1", ["flux_nrom"])


def test_a_row_group_holds_the_words_of_its_own_rows(tmp_path):
    """Not those of all nights of the part, which a read of one source would decode with it."""
    frame = rows([f"J{k:02d}" for k in range(30)], 60000.0 + np.arange(500.0))
    frame["tiles"] = [
        f"{source};{mjd:.0f}" for source, mjd in zip(frame["source_id"], frame["mjd"], strict=True)
    ]
    curves.write(tmp_path / "lc", frame)
    file = pq.ParquetFile(tmp_path / "lc" / "base-0000.parquet")
    assert file.num_row_groups > 1
    for number in range(file.num_row_groups):
        column = file.read_row_group(number, columns=["tiles"])["tiles"].combine_chunks()
        assert len(column.dictionary) == len(column)
    same(curves.read_source(tmp_path / "lc", "J29"), frame[frame["source_id"] == "J29"])
