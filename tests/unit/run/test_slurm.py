import os
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest
import snakemake.cli
from snakemake.profiles import ProfileConfigFileParser

from contimg.core import provenance
from contimg.core.errors import ConfigError, SystemFault
from contimg.jobs.engine import Job
from contimg.run import slurm

PROFILES = Path(__file__).parents[3] / "profiles"


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A clone's configuration of which only site.yaml matters; returns how to write that."""
    (tmp_path / "config").mkdir()
    monkeypatch.setattr(provenance, "REPOSITORY", tmp_path)
    return (tmp_path / "config" / "site.yaml").write_text


@pytest.fixture
def tools(tmp_path, monkeypatch):
    """SLURM's commands as shell scripts, and no others; returns how to write one."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    slurm._settings.cache_clear()

    def write(name, script):
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)

    return write


def settings(accounting, age):
    return f"echo 'AccountingStorageType = {accounting}'; echo 'MinJobAge               = {age} sec'"


def profile(name):
    with (PROFILES / name / "profile.yaml").open() as stream:
        return ProfileConfigFileParser().parse(stream)


def test_the_profile_holds_what_the_site_says(site, tools, monkeypatch):
    monkeypatch.setattr("sys.argv", ["snakemake", "-n"])
    site(
        "slurm: {partition: night, account: 1234, qos: long, extra: '--constraint=avx2 --nice', max_jobs: 7}"
    )
    read = profile("slurm")
    resources = dict(pair.split("=", 1) for pair in read["default-resources"])
    assert {name: eval(value) for name, value in resources.items()} == {
        "slurm_partition": "night",
        "slurm_account": "1234",
        "slurm_extra": "--constraint=avx2 --nice",
    }
    assert (read["slurm-qos"], read["jobs"]) == ("long", "7")


def test_the_link_of_the_page_makes_the_profile_known_everywhere(tmp_path, monkeypatch):
    page = (PROFILES.parent / "docs" / "cluster.md").read_text()
    (line,) = [line for line in page.splitlines() if line.startswith("mkdir -p ~/.config/snakemake")]
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    line = line.replace("/path/of/the/clone", str(PROFILES.parent))
    subprocess.run(["/bin/sh", "-c", line], check=True, env={**os.environ, "HOME": str(tmp_path)})
    monkeypatch.chdir(elsewhere)
    places = SimpleNamespace(
        user_config_dir=str(tmp_path / ".config/snakemake"), site_config_dir=str(elsewhere)
    )
    monkeypatch.setattr(snakemake.cli, "get_appdirs", lambda: places)
    _, found = snakemake.cli.get_profile_dir("slurm")
    assert found.resolve() == PROFILES / "slurm" / "profile.yaml"


def test_without_a_site_file_the_profile_leaves_everything_to_the_cluster(site, tools, monkeypatch):
    monkeypatch.setattr("sys.argv", ["snakemake", "-n"])
    read = profile("slurm")
    assert read["executor"] == "slurm"
    assert read["jobs"] == "500"
    assert list(read["default-resources"]) == []
    assert "slurm-qos" not in read


def test_a_mistake_in_the_site_file_is_told(site):
    site("slurm: {partitoin: night}")
    with pytest.raises(ConfigError, match=r"slurm\.partitoin"):
        slurm.options(["-n"])


def test_what_the_command_line_says_of_slurm_counts(site, tmp_path):
    site("slurm: {partition: night, account: dsa}")
    (tmp_path / "night.yaml").write_text("slurm: {partition: day, max_jobs: 3}\nincoming: /data\n")
    words = ["--cores", "2", "-np", "--configfile", str(tmp_path / "night.yaml"), "--keep-going", "--config"]
    found = slurm.options([*words, "start=2025-10-30", "slurm={max_jobs: 5}", "--", "mosaic"])
    assert (found.partition, found.account, found.max_jobs) == ("day", "dsa", 5)


def test_a_run_without_slurm_ends_in_one_line_and_a_dry_run_needs_none(site, tools, monkeypatch, capsys):
    site("slurm: {partition: night}")
    assert slurm.options(["--dry-run"]).partition == "night"
    monkeypatch.setattr("sys.argv", ["snakemake", "--profile", "slurm"])
    with pytest.raises(SystemExit) as left:
        profile("slurm")
    said = capsys.readouterr().err
    assert left.value.code == 2
    assert said.startswith("contimg: error: --profile slurm: no sbatch on this machine")
    assert said.count("\n") == 1


def test_a_slurm_that_does_not_answer_is_told_before_anything_is_planned_and_asked_once(
    site, tools, tmp_path
):
    site("{}")
    tools("sbatch", "exit 1")
    tools(
        "scontrol", f"echo asked >> {tmp_path}/asked; echo 'Unable to contact slurm controller' >&2; exit 1"
    )
    for _ in range(2):
        with pytest.raises(SystemFault, match="SLURM does not answer"):
            slurm.options([])
    assert (tmp_path / "asked").read_text().split() == ["asked"]


def test_the_default_profile_sets_nothing_that_the_slurm_profile_sets(site, tools, monkeypatch):
    monkeypatch.setattr("sys.argv", ["snakemake", "-n"])
    # Both are loaded, and the default's values win.
    assert set(profile("default")) & set(profile("slurm")) == set()


@pytest.mark.parametrize(
    ("accounting", "sacct", "asked"),
    [
        ("accounting_storage/slurmdbd", "exit 0", "sacct"),
        ("accounting_storage/slurmdbd", "echo 'Connection refused' >&2; exit 1", "squeue"),
        ("accounting_storage/none", "exit 0", "squeue"),  # sacct is installed, and answers nothing for ever
    ],
)
def test_accounting_is_asked_only_where_it_answers(tools, accounting, sacct, asked):
    tools("scontrol", settings(accounting, 600))
    tools("sacct", sacct)
    assert slurm.status_command(slurm.SlurmOptions()) == asked


def test_a_site_may_say_itself_what_is_asked(tools):
    tools("scontrol", settings("accounting_storage/slurmdbd", 600))
    assert slurm.status_command(slurm.SlurmOptions(status_command="squeue")) == "squeue"


def test_a_queue_that_forgets_too_soon_is_told(tools, capsys):
    tools("scontrol", settings("accounting_storage/none", 60))
    assert slurm.status_command(slurm.SlurmOptions()) == "squeue"
    assert "SLURM forgets jobs 60 s after their end" in capsys.readouterr().err


def test_a_machine_without_slurm_has_no_settings(tools):
    assert list(Path(os.environ["PATH"]).iterdir()) == []
    assert slurm.cluster_settings() == {}


def test_a_dry_run_with_the_profile_shows_what_each_rule_asks_for():
    tiles = [
        Job("image_tile", (f"images/{n}",), (), True, (), 1, 2500.0 + n, 10.0, 20.0, partition="night")
        for n in range(3)
    ]
    done = Job("convert_tile", ("ms/1",), (), todo=False)
    _, line = slurm.table([*tiles, done])
    assert line == "image_tile   night, the default, 1, 2500–2502 MB, 20 min"
    assert slurm.table([done]) == []
