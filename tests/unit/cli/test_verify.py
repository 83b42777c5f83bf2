import io
import os
import shlex
import shutil

import pytest
from casacore import tables

from builders.published_mosaics import DATE, plant_mosaic
from contimg.cli.main import main
from contimg.cli.rerun import recipe
from contimg.config.model import Config
from contimg.core.apart import fingerprints
from contimg.core.digests import BLOCK, BLOCKS, EDGE, fingerprint
from contimg.core.errors import InputError
from contimg.core.products import building, keep_configuration, read_json, status, write_json
from contimg.core.provenance import CONFIGURATION_VARIABLE
from contimg.publish.versions import publish

BIG = 2 * EDGE + 40 * BLOCKS * BLOCK


@pytest.fixture
def big(tmp_path):
    """A file that is too big to be read whole."""
    path = tmp_path / "raw.hdf5"
    path.write_bytes(os.urandom(BIG))
    return path


@pytest.mark.parametrize("place", [0, EDGE - 1, EDGE + 10, BIG - 1])
def test_a_changed_byte_in_a_block_that_is_read_changes_the_fingerprint(big, place):
    before = fingerprint(big)
    with big.open("r+b") as stream:
        stream.seek(place)
        byte = stream.read(1)
        stream.seek(place)
        stream.write(bytes([byte[0] ^ 1]))
    assert fingerprint(big) != before


def test_a_copy_has_the_fingerprint_of_its_original_and_a_shorter_file_another(big, tmp_path):
    copy = tmp_path / "copy.hdf5"
    copy.write_bytes(big.read_bytes())
    assert fingerprint(copy) == fingerprint(big)
    copy.write_bytes(big.read_bytes()[:-1])
    assert fingerprint(copy) != fingerprint(big)
    assert fingerprint(tmp_path / "none") is None


def test_a_fingerprint_reads_a_small_part_of_a_big_file(big, monkeypatch):
    sizes = []

    class Counting(io.FileIO):
        def read(self, size=-1):
            block = super().read(size)
            sizes.append(len(block))
            return block

    monkeypatch.setattr(type(big), "open", lambda path, mode: Counting(path, "rb"))
    assert len(fingerprint(big)) == 16
    assert sum(sizes) == 2 * EDGE + BLOCKS * BLOCK


def table_that_held(path, before, after):
    """A casacore table whose array grew, so that the file still has, unused, what it held before."""
    column = tables.makearrcoldesc("CPARAM", 0.0, ndim=1)
    with tables.table(str(path), tables.maketabdesc([column]), nrow=1, ack=False) as table:
        table.putcell("CPARAM", 0, before)
        table.flush()
        table.putcell("CPARAM", 0, after)
    return path


def test_of_a_tables_arrays_the_values_count_and_not_what_lies_between_them(tmp_path):
    one = table_that_held(tmp_path / "one", [1.0, 2.0], [4.0, 5.0, 6.0])
    other = table_that_held(tmp_path / "other", [7.0, 8.0], [4.0, 5.0, 6.0])
    changed = table_that_held(tmp_path / "changed", [1.0, 2.0], [4.0, 5.0, 6.5])
    assert (one / "table.f0i").read_bytes() != (other / "table.f0i").read_bytes()
    assert fingerprint(one) == fingerprint(other) != fingerprint(changed)


def test_a_broken_tables_arrays_have_another_fingerprint_and_no_error(tmp_path):
    table = table_that_held(tmp_path / "table", [1.0, 2.0], [4.0, 5.0, 6.0])
    before = fingerprint(table)
    (table / "table.f0i").write_bytes(b"")
    assert fingerprint(table) not in (before, None)


def test_a_directory_is_its_files_and_their_names_without_marks_of_engines(tmp_path):
    folder = tmp_path / "x.ms"
    (folder / "sub").mkdir(parents=True)
    (folder / "sub" / "table.f0").write_text("data")
    before = fingerprint(folder)
    for name in ("table.lock", ".snakemake_timestamp", "status.json"):
        (folder / name).write_text("touched")
    assert fingerprint(folder) == before
    (folder / "sub" / "status.json").write_text("added")  # only where a product begins is it no content
    assert fingerprint(folder) != before
    (folder / "sub" / "status.json").unlink()
    (folder / "sub" / "table.f0").rename(folder / "sub" / "table.f1")
    assert fingerprint(folder) != before


@pytest.fixture
def product(tmp_path, monkeypatch):
    """A products tree with one image made of one raw file, under a configuration that is kept."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "raw").write_text("visibilities")
    config = Config.model_validate({"products": str(tmp_path)}).model_dump(mode="json")
    monkeypatch.setenv(CONFIGURATION_VARIABLE, keep_configuration(config, tmp_path))
    final = tmp_path / "images/2025-10-30/t"
    with building(final) as part:
        part.mkdir()
        (part / "t.fits").write_text("pixels")
        write_json(part / "status.json", status(inputs=["raw"], caltables=["inside"]))  # no path of the tree
    return final


def test_what_nobody_touched_is_as_it_was(product, capsys):
    assert main(["verify", str(product)]) == 0
    assert "as it was, with its 1 inputs" in capsys.readouterr().out


@pytest.mark.parametrize(("path", "said"), [("images/2025-10-30/t/t.fits", "changed"), ("raw", "changed")])
def test_a_changed_product_or_input_is_told(product, tmp_path, capsys, path, said):
    (tmp_path / path).write_text("else")
    assert main(["verify", str(product)]) == 1
    assert said in capsys.readouterr().out
    (tmp_path / "raw").unlink()
    assert main(["verify", str(product)]) == 1
    assert "gone: raw" in capsys.readouterr().out


def test_a_measurement_set_is_verified_by_the_sidecar_beside_it(product, tmp_path, capsys):
    ms = tmp_path / "ms/science/d/t.ms"
    ms.mkdir(parents=True)
    (ms / "table.f0").write_text("data")
    write_json(ms.with_suffix(".json"), status(contents=fingerprint(ms)))
    assert main(["verify", str(ms)]) == 0
    (ms / "table.f0").write_text("date")
    assert main(["verify", str(ms)]) == 1


def test_the_recipe_is_a_command_that_forces_the_product_with_its_configuration(product, tmp_path):
    words = shlex.split(next(line for line in recipe(product) if "snakemake" in line))
    assert words[words.index("--force") + 1 :][:1] == ["--configfile"]
    kept = words[words.index("--configfile") + 1]
    assert read_json(tmp_path / kept)["products"] == str(tmp_path)
    assert words[-1] == "images/2025-10-30/t"


def test_the_recipe_names_the_environments_that_made_the_product(product, tmp_path):
    (command,) = [line for line in recipe(product) if "snakemake" in line]
    assert "conda" not in command
    sidecar = product / "status.json"
    used = f"{tmp_path}/our envs/0f5f8d3bce2a4c4cbb0d5d3b0a0c9a11_"
    write_json(sidecar, {**read_json(sidecar), "environment": used})
    (line,) = [line for line in recipe(product) if "snakemake" in line]
    words = shlex.split(line)
    assert words[words.index("--sdm") + 1] == "conda"
    assert words[words.index("--conda-prefix") + 1] == f"{tmp_path}/our envs"
    assert words[-1] == "images/2025-10-30/t"


def test_the_recipe_tells_other_versions_and_a_lost_configuration(product, tmp_path):
    sidecar = product / "status.json"
    record = read_json(sidecar)
    record["versions"] |= {"numpy": "1.0", "commit": "abc"}
    write_json(sidecar, record)
    lines = recipe(product)
    assert lines[0].endswith("checkout abc")
    assert any(line.startswith("# numpy: made with 1.0, here 2") for line in lines)
    write_json(sidecar, {**record, "configuration": None})
    with pytest.raises(InputError, match="configuration it was made with"):
        recipe(product)


def test_what_is_no_product_is_refused(tmp_path, capsys):
    assert main(["verify", str(tmp_path / "nothing")]) == 2
    assert "no such file or directory; `contimg query" in capsys.readouterr().err
    assert main(["verify", str(tmp_path)]) == 2
    assert "expected a product with its sidecar" in capsys.readouterr().err
    write_json(tmp_path / "status.json", status())
    (tmp_path / "m.fits").touch()
    assert main(["verify", str(tmp_path / "m.fits")]) == 2
    assert f"give the directory: {tmp_path}\n" in capsys.readouterr().err


def test_a_published_version_is_held_against_its_manifest(tmp_path, capsys):
    (tmp_path / "state").mkdir()
    publish(f"mosaics/{DATE}/0830+55", plant_mosaic(tmp_path), "", tree=tmp_path)
    version = tmp_path / "published" / DATE / "0830+55" / "v1"
    version.chmod(0o755)
    assert main(["verify", str(version)]) == 0
    number = len(list(version.iterdir()))
    assert f"as it was, with its {number} files (every byte)" in capsys.readouterr().out
    (version / "extra.txt").write_text("x")
    picture = next(version.glob("*.png"))
    picture.chmod(0o644)
    picture.write_bytes(b"Picture")
    (version / "config.yaml").unlink()
    assert main(["verify", str(version)]) == 1
    said = capsys.readouterr().out
    for words in (
        f"added: {version / 'extra.txt'}",
        f"changed: {picture}",
        f"gone: {version / 'config.yaml'}",
    ):
        assert words in said


def test_a_stripe_between_the_samples_is_found_by_reading_all(product, capsys, tmp_path):
    with building(tmp_path / "images/2025-10-30/u") as part:
        part.mkdir()
        (part / "u.fits").write_bytes(os.urandom(BIG))
        write_json(part / "status.json", status())
    with (tmp_path / "images/2025-10-30/u/u.fits").open("r+b") as stream:
        stream.seek(EDGE + BLOCK)
        stream.write(bytes(BLOCK))
    assert main(["verify", str(tmp_path / "images/2025-10-30/u")]) == 0
    assert "by samples of large files; --whole reads all" in capsys.readouterr().out
    assert main(["verify", "--whole", str(tmp_path / "images/2025-10-30/u")]) == 1
    assert main(["verify", "--whole", str(product)]) == 0


def test_a_table_that_kills_its_reader_is_changed_and_the_next_is_still_read(tmp_path, monkeypatch):
    good, deadly = table_that_held(tmp_path / "good", [1.0], [2.0]), tmp_path / "deadly"
    shutil.copytree(good, deadly)
    with fingerprints() as marks:
        assert marks.of(good) == fingerprint(good)
        marks._child.kill()  # as casacore's own end would, in the middle of a table
        assert marks.of(deadly).startswith("unreadable: reading it ended with")
        assert marks.of(good) == fingerprint(good)
        assert marks.of(tmp_path / "none") is None


def test_no_flipped_byte_of_a_tables_arrays_ends_us(tmp_path):
    table = table_that_held(tmp_path / "table", [1.0, 2.0], [4.0, 5.0, 6.0])
    before = fingerprint(table)
    arrays = table / "table.f0i"
    size = arrays.stat().st_size
    changed = []
    with fingerprints() as marks:
        for place in range(0, size, max(1, size // 12)):
            data = bytearray(arrays.read_bytes())
            data[place] ^= 1
            keep = arrays.read_bytes()
            arrays.write_bytes(bytes(data))
            changed.append(marks.of(table) != before)
            arrays.write_bytes(keep)
        assert marks.of(table) == before
    assert any(changed)
