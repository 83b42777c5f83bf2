"""`contimg try`: a branch for other settings, ready to be made, while the night's tree stays as it is."""

from pathlib import Path

import pytest

from builders import service_trees as trees
from contimg.core import names
from contimg.core.errors import ConfigError, InputError
from contimg.core.products import keep_configuration, read_json, write_json
from contimg.run import trial

ROBUST = ["imaging={robust: 0.25}"]


@pytest.fixture
def night(tmp_path):
    """Two tiles with their sets, in a tree; and the settings they were made with."""
    settings = trees.make(tmp_path, tiles=2, min_subbands=1)
    for number in (0, 1):
        tile = trees.tile(number)
        (settings.products / names.science_ms(tile)).mkdir(parents=True)
        write_json(settings.products / names.science_sidecar(tile), {"status": "ok", "reason": None})
    return settings.products, dict(settings.base), names.image_dir(trees.tile(0))


def contents(tree):
    return {path: path.lstat().st_mtime_ns for path in tree.rglob("*")}


def test_sets_are_shared_and_the_nights_tree_is_not_touched(night):
    tree, values, image = night
    before = contents(tree)
    made = trial.prepare(image, tree, values, ROBUST)
    assert contents(tree) == before
    assert made.into == tree.with_name(f"{tree.name}.try") / "imaging.robust_0.25"
    shared = made.into / names.science_ms(trees.tile(0))
    assert shared.is_symlink()
    assert shared.readlink() == tree / names.science_ms(trees.tile(0))
    assert made.changed == {"imaging": {"robust": 0.25}}
    assert (made.config.products, made.config.imaging.robust) == (made.into, 0.25)
    assert (made.config.start, made.config.notify.webhook) == (trees.tile(0), None)
    again = trial.prepare(image, tree, values, ROBUST)
    assert (again.into, again.linked) == (made.into, made.linked)


def test_a_dry_run_makes_nothing_and_knows_what_an_earlier_try_made(night, tmp_path, monkeypatch, capsys):
    from contimg.cli.main import main

    tree, values, image = night
    kept = keep_configuration(values, tree)
    write_json(tree / image / "status.json", {"status": "ok", "reason": None, "configuration": kept})
    into = tmp_path / "here" / "try"
    asked: list[list[str]] = []

    def workflow(words):
        asked.append(words)
        branch = Path(read_json(Path(words[words.index("--configfile") + 1]))["products"])
        there.append((branch, (branch / names.science_ms(trees.tile(0))).exists(), (branch / image).exists()))
        return 0

    there: list[tuple[Path, bool, bool]] = []
    monkeypatch.setattr("contimg.run.child.workflow", workflow)
    command = ["try", str(tree / image), "--set", *ROBUST, "--into", str(into), "-n"]
    before = contents(tmp_path)
    assert main(command) == 0
    assert contents(tmp_path) == before
    assert f"{into}: " in capsys.readouterr().err
    trial.prepare(image, tree, values, ROBUST, into)
    write_json(into / image / "status.json", {"status": "ok"})
    before = contents(tmp_path)
    assert main(command) == 0
    assert contents(tmp_path) == before
    assert [found[1:] for found in there] == [(True, False), (True, True)]
    assert not any(branch.exists() for branch, *_ in there)
    assert all("--dry-run" in words and words[-1] == image for words in asked)
    assert not any("--quiet" in words for words in asked)  # the profile's: one table, no more


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ([], "made with these settings"),
        (["imaging={robust: auto}"], "made with these settings"),
        (["end=2025-10-31"], "end says what is made or where"),
        (["imaging={robst: 0}"], "robst"),
        (["robust"], "--set: found 'robust'; write key=value"),
        (["mosaic={method: mean}"], "mosaic changes nothing of images/"),
    ],
)
def test_settings_that_cannot_be_tried_are_refused(night, settings, said):
    tree, values, image = night
    with pytest.raises(ConfigError, match=said):
        trial.prepare(image, tree, values, settings)
    assert not tree.with_name(f"{tree.name}.try").exists()


def test_a_directory_of_something_else_is_refused(night, tmp_path):
    tree, values, image = night
    for into in (tree, tree / "images", tree.parent):
        with pytest.raises(ConfigError, match="the night's tree"):
            trial.prepare(image, tree, values, ROBUST, into)
    full = tmp_path / "full"
    (full / "x").mkdir(parents=True)
    with pytest.raises(ConfigError, match="is not empty"):
        trial.prepare(image, tree, values, ROBUST, full)
    trial.prepare(image, tree, values, ROBUST, tmp_path / "own")
    with pytest.raises(ConfigError, match="holds a trial of"):
        trial.prepare(image, tree, values, ["imaging={robust: 1}"], tmp_path / "own")


def test_what_is_no_product_or_cannot_be_made_again_says_so(night):
    tree, values, _ = night
    with pytest.raises(InputError, match="expected the path of an image"):
        trial.prepare("logs", tree, values, ROBUST)
    with pytest.raises(InputError, match="no files of it in incoming"):
        trial.prepare("images/2025-01-01/2025-01-01T00:00:00", tree, values, ROBUST)


def test_names_of_directories_tell_the_settings():
    assert trial.words({"imaging": {"robust": -0.5, "keep": ["dirty", "psf"]}}) == (
        "imaging.robust_-0.5_imaging.keep_dirty-psf"
    )
    assert trial.words({"catalog": "/data/nvss.fits"}) == "catalog_-data-nvss.fits"
    long = trial.words({"imaging": {f"key{number}": number for number in range(20)}})
    assert len(long) <= 60
    assert long != trial.words({"imaging": {f"key{number}": number for number in range(1, 21)}})


def test_the_settings_a_product_was_made_with_are_those_that_a_trial_starts_from(night, capsys):
    from contimg.cli.main import main

    tree, values, image = night
    kept = keep_configuration({**values, "imaging": {**values["imaging"], "robust": 0.25}}, tree)
    write_json(tree / image / "status.json", {"status": "ok", "reason": None, "configuration": kept})
    assert main(["try", str(tree / image), "--set", "imaging={robust: 0.25}"]) == 2
    assert "was made with these settings" in capsys.readouterr().err
    assert read_json(tree / image / "status.json")["configuration"] == kept


@pytest.mark.parametrize("key", ["rms_jy", "rms_median_jy"])
def test_the_noise_of_both_is_said_and_a_rejected_one_has_its_reason(tmp_path, capsys, key):
    from contimg.cli.trial import _conclude

    before, after = tmp_path / "before", tmp_path / "after"
    for folder, rms in ((before, 2e-3), (after, 1.5e-3)):
        write_json(folder / "status.json", {"status": "ok", "reason": None, "metrics": {key: rms}})
    assert _conclude(before, after) == 0
    said = capsys.readouterr()
    assert said.out.strip() == str(after)
    assert "rms 1.5 mJy/beam, the night's 2" in said.err
    write_json(after / "status.json", {"status": "rejected", "reason": "no solution", "metrics": {}})
    assert _conclude(before, after) == 1
    assert "rejected: no solution" in capsys.readouterr().err
