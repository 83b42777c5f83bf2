"""`contimg compare` prints paths that are there."""

from types import SimpleNamespace

import pytest

from contimg.cli.main import main
from contimg.core.products import status, write_json


@pytest.mark.parametrize(
    ("product", "plane"),
    [
        ("mosaics/2025-10-30/0830+55.2", "0830+55.2.fits"),
        ("images/2025-10-30/2025-10-30T13:00:00", "2025-10-30T13:00:00.pbcor.fits"),
    ],
)
def test_every_path_of_a_compared_mosaic_or_tile_is_there(tmp_path, monkeypatch, capsys, product, plane):
    folder = tmp_path / product
    write_json(folder / "status.json", status())
    (folder / plane).touch()
    (folder / f"{folder.name}.png").touch()
    monkeypatch.setattr("contimg.simulate.truth.read_truth", lambda path: SimpleNamespace(sources=()))
    monkeypatch.setattr("contimg.qa.truth.compare_product", lambda directory, sources: None)
    monkeypatch.setattr(
        "contimg.qa.truth.judge", lambda table: SimpleNamespace(good=True, line=lambda: "right")
    )
    assert main(["compare", "--truth", "t", "--products", str(tmp_path), "--tiles"]) == 0
    lines = (line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    said = {words[0]: words[1] for words in lines if len(words) == 2}
    assert {said[key].rpartition("/")[2] for key in ("picture", "FITS", "summary")} == {
        f"{folder.name}.png",
        plane,
        "status.json",
    }
    assert all((tmp_path / said[key]).is_file() for key in ("picture", "FITS", "summary"))
