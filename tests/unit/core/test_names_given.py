"""Names that people give, of mosaics and calibrators: none is a path's, a date, a file's or another product's."""

import pytest
from pydantic import ValidationError

from contimg.config.load import load
from contimg.config.model import Config
from contimg.core import names
from contimg.core.errors import ConfigError, InputError
from contimg.sky.calibrators import read_calibrators

BAD = (
    "..", ".", "...", "a..b", ".hidden", "2025-10-30", "2025-10-30b", "cygnus_2025-10-30", "2025-10-30T13:00:00",
    "a.part.host.1", "x.json", "x.ms", "x.FITS", "v1.withdrawn.json", "index.json", "x.part",
)  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_a_name_that_is_something_else_is_refused(name, tmp_path):
    assert names.unusable(name) is not None
    with pytest.raises(ValidationError):
        Config.model_validate({"mosaic_name": name})
    table = tmp_path / "calibrators.csv"
    table.write_text(f"name,ra_deg,dec_deg,flux_jy,spectral_index,origin\n{name},120,55,8,-0.5,test\n")
    with pytest.raises(InputError, match="file names"):
        read_calibrators(table)


@pytest.mark.parametrize("name", ["cygnus_2025", "0834+555", "3C286", "J0834.5+5534", "night-2"])
def test_a_name_of_its_own_is_taken(name, tmp_path):
    assert names.unusable(name) is None
    table = tmp_path / "calibrators.csv"
    table.write_text(f"name,ra_deg,dec_deg,flux_jy,spectral_index,origin\n{name},120,55,8,-0.5,test\n")
    assert read_calibrators(table)[0].name == name if "_" not in name else True


@pytest.mark.parametrize("letter", ["{", "}", "[", "*", "?", '"', "'", "\\", "$", ";", "\n", "\x07"])
def test_a_path_with_what_a_wildcard_or_a_shell_is_made_of_is_refused_at_the_start(letter, tmp_path):
    odd = tmp_path / f"a{letter}b"
    odd.mkdir()
    for key in ("incoming", "products", "scratch"):
        paths = {"incoming": str(tmp_path), "products": str(tmp_path.parent / "products"), key: str(odd)}
        with pytest.raises(ConfigError, match=rf"^{key}: found .*which a wildcard or a shell is made of"):
            load(paths)
    beam = {"model": "file"}
    for key, name, more in (
        ("flagging", "strategy", {}),
        ("beam", "file", beam),
        ("photometry", "sources", {}),
    ):
        paths = {"incoming": str(tmp_path), "products": str(tmp_path.parent / "products")}
        paths[key] = {name: str(odd), **more}
        with pytest.raises(
            ConfigError, match=rf"^{key}.{name}: found .*which a wildcard or a shell is made of"
        ):
            load(paths)
    load({"incoming": str(tmp_path), "products": str(tmp_path.parent / "é = % & #, -x")})
