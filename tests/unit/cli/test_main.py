"""The command: the same configuration as Snakemake's, errors in one line, nothing imported that is not used."""

import argparse
import os
import shlex
import subprocess
import sys
import types

import pytest
import yaml
from snakemake.cli import parse_config

from builders.tiles import strip_of_tiles
from contimg.cli import main
from contimg.cli.main import _COMMANDS, _parser
from contimg.config import docs
from contimg.config.files import read_configuration
from contimg.config.load import load
from contimg.core.errors import ConfigError, InputError
from contimg.core.provenance import REPOSITORY
from contimg.image.options import load_tiers

SCRIPTS = REPOSITORY / "scripts"


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A working directory that holds what the default configuration names."""
    (tmp_path / "incoming").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(capsys, *words):
    """Run the command; give its exit status, what it printed and what it said on stderr."""
    status = main(words)
    said = capsys.readouterr()
    return status, said.out, said.err


@pytest.mark.parametrize(
    "pair",
    [
        "start=2025-10-30",
        "start=2025-10-30T13:00:00",
        "end=",
        "calibrator=null",
        "min_subbands=14",
        "exclude=2025-10-30T13:00:00,2025-10-30T13:05:09",
        "exclude=[2025-10-30T13:00:00]",
        "imaging={robust: -0.5, niter: 100}",
        "imaging={robust: auto}",
        "flagging={aoflagger: false, rfi_bands_mhz: [[1349, 1351]], flag_antennas: [21, 103]}",
        "calibration={refant: 103, valid_hours: 1e1}",
        "mosaic_name=2025",
        "mosaic_name=a=b",
        "incoming=/data/raw: old",
        "mosaic_name=True",
        "calibrator=0834+555",
        "window_minutes=60.0",
        "imaging={robust:0}",
    ],
)
def test_a_pair_means_what_it_means_to_snakemake(pair):
    def outcome(mapping):
        try:
            return load(mapping, check=False)
        except ConfigError as error:
            return str(error)

    assert outcome(read_configuration([], [pair])) == outcome(parse_config([pair]))


def test_files_win_over_the_clones_and_pairs_over_files_key_by_key(tmp_path):
    first, second = tmp_path / "first.yaml", tmp_path / "second.yaml"
    first.write_text("start: 2025-10-28\nmin_subbands: 12\nimaging: {robust: 1, niter: 5}\n")
    second.write_text('{"start": "2025-10-29", "imaging": {"niter": 6, "mgain": 0.7}}')
    config = load(
        read_configuration([first, second], ["imaging={mgain: 0.6}", "end=2025-10-31"]), check=False
    )
    assert (config.start, config.end) == ("2025-10-29T00:00:00", "2025-10-31T00:00:00")
    assert config.min_subbands == 12
    assert (config.imaging.robust, config.imaging.niter, config.imaging.mgain) == (1.0, 6, 0.6)


def test_the_configuration_shown_is_one_that_runs_the_same(here, capsys):
    status, shown, said = run(
        capsys, "config", "--config", "start=2025-10-30", "imaging={quality_tier: development}"
    )
    assert (status, said) == (0, "")
    (here / "again.yaml").write_text(shown)
    assert run(capsys, "config", "--configfile", "again.yaml") == (0, shown, "")
    values = yaml.safe_load(shown)
    assert values["incoming"] == str(here / "incoming")
    assert values["imaging"]["niter"] == load_tiers()["development"].niter
    assert values["start"] == "2025-10-30T00:00:00"


def test_the_configuration_is_shown_even_where_its_directories_are_missing(here, capsys):
    status, shown, said = run(capsys, "config", "--config", "incoming=nowhere")
    assert status == 2
    assert yaml.safe_load(shown)["incoming"] == str(here / "nowhere")
    assert said == (
        f"contimg: error: incoming: found {here}/nowhere, which is not there; write the directory that holds the raw "
        "files\n"
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["--config", "imaging"],
            "--config: found 'imaging'; write key=value, such as start=2025-10-30",
        ),
        (
            ["--config", "imaging.robust=0"],
            "--config: found 'imaging.robust=0'; write key=value, such as start=2025-10-30",
        ),
        (["--config", "strat=5"], "strat: no such key (found 5); did you mean start?"),
        (
            ["--configfile", "none.yaml"],
            "none.yaml: cannot be read (No such file or directory); write the path of a YAML file",
        ),
        (
            ["--configfile", "list.yaml"],
            "list.yaml: found ['a']; write keys and values, such as `start: 2025-10-30`",
        ),
    ],
)
@pytest.mark.parametrize("command", ["config", "tiles"])
def test_an_error_is_one_line_and_status_2(here, capsys, command, words, message):
    (here / "list.yaml").write_text("- a\n")
    assert run(capsys, command, *words) == (2, "", f"contimg: error: {message}\n")


def test_derived_files_are_checked_and_regenerated(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(docs, "stale", lambda root=tmp_path, real=docs.stale: real(root))
    every = "".join(f"{{}}: {tmp_path / name}\n" for name in docs.RENDERED)
    assert run(capsys, "config", "--check") == (1, every.replace("{}", "not as regenerated"), "")
    monkeypatch.setattr(docs, "write", lambda root=tmp_path, real=docs.write: real(root))
    assert run(capsys, "config", "--write") == (0, every.replace("{}", "written"), "")
    assert run(capsys, "config", "--check") == (0, "", "")


def test_tiles_of_a_range_are_listed_with_their_fate(here, capsys, monkeypatch):
    from contimg.index import load
    from contimg.index.tile import Index, LeftOut

    tiles = strip_of_tiles(count=6, ra_start_deg=127.0)
    asked = {}

    def build_index(incoming, **how):
        asked.update(how, incoming=incoming)
        present = tuple(tile for tile in tiles if tile is not tiles[2])
        return Index(present, (LeftOut(tiles[2].name, "sb03 is truncated", ("x_sb03.hdf5",)),))

    monkeypatch.setattr(load, "build_index", build_index)
    pairs = [f"start={tiles[1].name}", "end=2025-10-30T12:20", "calibrators=cal.csv", "min_subbands=1"]
    (here / "cal.csv").write_text(
        "name,ra_deg,dec_deg,flux_jy,spectral_index,origin\nBright,128.0,55.1,8.8,-0.4,test\n"
    )
    status, listed, said = run(capsys, "tiles", "--config", *pairs)
    assert (status, said) == (0, "")
    assert asked["incoming"] == here / "incoming"
    assert asked["min_subbands"] == 1
    head, *rows, total = listed.splitlines()
    assert head.split() == ["tile", "dec", "subbands", "calibrators", "fate"]
    assert [row[:19] for row in rows] == [tile.name for tile in tiles[1:4]]
    assert rows[0].split()[1:] == ["+55.00", "1/1", "Bright", "complete"]
    assert rows[1].split(maxsplit=1)[1] == "left out: sb03 is truncated"
    assert total == "2 tiles, 1 left out"
    assert not (here / "products").exists()  # looking makes nothing


@pytest.mark.parametrize(
    ("command", "module"), [("simulate", "contimg.cli.simulate"), ("compare", "contimg.cli.compare")]
)
def test_a_delegated_command_gets_its_own_arguments_and_status(monkeypatch, capsys, command, module):
    seen = []
    stand_in = types.ModuleType(module)
    stand_in.add_arguments = lambda parser: parser.add_argument("--depth", type=int)
    stand_in.run = lambda args: seen.append(args.depth) or 1
    monkeypatch.setitem(sys.modules, module, stand_in)
    assert run(capsys, command, "--depth", "3") == (1, "", "")
    assert seen == [3]


def test_an_unexpected_exception_is_not_hidden(monkeypatch):
    stand_in = types.ModuleType("contimg.cli.compare")
    stand_in.add_arguments = lambda parser: None

    def fail(args):
        raise ZeroDivisionError("a fault of the program")

    stand_in.run = fail
    monkeypatch.setitem(sys.modules, "contimg.cli.compare", stand_in)
    with pytest.raises(ZeroDivisionError, match="a fault of the program"):
        main(["compare"])


def test_every_error_of_the_library_is_one_line(monkeypatch, capsys):
    stand_in = types.ModuleType("contimg.cli.compare")
    stand_in.add_arguments = lambda parser: None

    def fail(args):
        raise InputError("a.hdf5: zero length; copy it again")

    stand_in.run = fail
    monkeypatch.setitem(sys.modules, "contimg.cli.compare", stand_in)
    assert run(capsys, "compare") == (2, "", "contimg: error: a.hdf5: zero length; copy it again\n")


@pytest.mark.parametrize("command", ["config", "tiles", "simulate", "compare"])
def test_help_of_each_command_has_an_example(capsys, command):
    with pytest.raises(SystemExit) as stop:
        main([command, "--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    assert f"example:\n  contimg {command} --" in text


@pytest.mark.parametrize("command", ["image", "publish", "convert", "run"])
def test_what_the_workflow_does_is_answered_with_its_command(capsys, command):
    assert main([command, "2025-10-30"]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"contimg: there is no `contimg {command}`; it is: snakemake --cores all")
    assert said.count("\n") == 1


def test_a_command_that_had_another_name_still_works_and_says_the_new_one(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["mosaic", "--help"])
    assert stop.value.code == 0
    said = capsys.readouterr()
    assert said.err == "contimg: `contimg mosaic` is called `contimg unattended` now\n"
    assert "contimg unattended --calibrator" in said.out


def test_no_command_is_told_with_the_usage(capsys):
    assert main([]) == 2
    assert "usage: contimg" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("plna", "contimg: there is no `contimg plna`; did you mean `contimg plan`?"),
        ("xyzzy", "contimg: there is no `contimg xyzzy`; `contimg` lists the commands"),
        ("publish mosaics/2025-10-30/0830+55", "it is: snakemake --cores all publish"),
        ("plan start=2025-10-30", "settings stand behind --config: contimg plan --config start=2025-10-30"),
        (
            "tiles start=2025-10-30",
            "settings stand behind --config: --config start=2025-10-30; for example: contimg",
        ),
        ("plan --configfile start=2025-10-30", "settings stand behind --config: --config start=2025-10-30"),
        ("query", "required: QUESTION; for example: contimg query --products /data/products tables"),
        ("query tiles --date 30.10.2025", "found '30.10.2025'; write a UTC date such as 2025-10-30"),
        ("query tiles --products none", "contimg registry build --products"),
        ("try images/2025-10-30/T", "required: --set; for example: contimg try /data/products/images/"),
        (
            "measure none --at '08h27m +55d'",
            "none: no such file or directory; `contimg query --products PRODUCTS",
        ),
        ("measure none", "nothing to measure: give --at PLACE or --list FILE"),
        ("sources .", "expected the directory of a mosaic or a tile with one .rms.fits, found 0"),
        ("compare one", "give two images, `contimg compare FIRST SECOND`"),
        (
            "withdraw mosaics/2025-10-30/0830+55",
            "required: --reason, --products; for example: contimg withdraw",
        ),
        ("verify nothing", "nothing: no such file or directory; `contimg query --products PRODUCTS tiles`"),
        ("rerun nothing", "nothing: no such file or directory; `contimg query --products PRODUCTS tiles`"),
        ("inspect .", ".: a directory; give files: contimg inspect ./*.hdf5"),
        ("inspect none.hdf5", "none.hdf5: no such file; `contimg tiles` lists"),
        (
            "tiles --config date=2025-10-30",
            "date: no such key (found '2025-10-30'); write start=2025-10-30 end=",
        ),
        ("plan mosaik --config incoming=incoming products=p", "target: found 'mosaik'; did you mean mosaic?"),
        (
            "batch --service http://127.0.0.1:9 list",
            "start it there (contimg serve), or name another with --service",
        ),
        (
            "lightcurve J1 --products .",
            "no light curves in it; make them: snakemake lightcurves, with a list",
        ),
    ],
)
def test_a_mistake_is_one_line_that_names_what_to_type(words, told, here, capsys):
    try:
        status = main(shlex.split(words))
    except SystemExit as stop:
        status = stop.code
    said = capsys.readouterr()
    assert status == 2
    assert told in said.err
    assert said.err.count("\n") == 1
    assert not said.out


def test_where_the_tree_is_may_stand_before_a_question_and_behind_it():
    before = _parser("query").parse_args(["query", "--products", "a", "--csv", "tiles"])
    behind = _parser("query").parse_args(["query", "tiles", "--csv", "--products", "a"])
    assert vars(before) == vars(behind)


def test_importing_the_command_imports_nothing_heavy():
    code = "import sys, contimg.cli.main; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(SCRIPTS)},
    ).stdout.split()
    assert "contimg.core.errors" in loaded
    assert not {"numpy", "astropy", "pandas", "pydantic", "yaml", "h5py", "casatasks"}.intersection(loaded)


def test_importing_the_configuration_imports_no_numerics():
    code = "import sys, contimg.config.model; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(SCRIPTS)},
    ).stdout.split()
    assert "pydantic" in loaded
    assert not {"numpy", "astropy", "pandas", "yaml", "h5py", "contimg.sky.calibrators"}.intersection(loaded)


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (
            PermissionError(13, "Permission denied", "/data/a"),
            2,
            "contimg: error: /data/a: Permission denied\n",
        ),
        (
            OSError(28, "No space left on device", "/data/b"),
            2,
            "contimg: error: /data/b: No space left on device\n",
        ),
    ],
)
def test_what_the_file_system_refuses_is_one_line(monkeypatch, capsys, error, status, said):
    stand_in = types.ModuleType("contimg.cli.compare")
    stand_in.add_arguments = lambda parser: None

    def fail(args):
        raise error

    stand_in.run = fail
    monkeypatch.setitem(sys.modules, "contimg.cli.compare", stand_in)
    assert run(capsys, "compare") == (status, "", said)


def test_who_reads_only_the_first_lines_ends_a_command_quietly(here):
    """As `contimg config | head -1` does."""
    program = "import sys; from contimg.cli import main; sys.exit(main(sys.argv[1:]))"
    words = [sys.executable, "-c", program, "config"]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env) as command:
        command.stdout.close()
        assert command.stderr.read() == b""


def parsers(parser):
    """A parser and those of its subcommands."""
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for one in action.choices.values():
                yield from parsers(one)


@pytest.mark.parametrize("command", sorted(_COMMANDS))
def test_no_number_of_the_command_line_is_without_bounds(command):
    for parser in parsers(_parser(command)):
        plain = [action.dest for action in parser._actions if action.type in (int, float)]
        assert plain == [], f"contimg {command}: use contimg.cli.numbers"
