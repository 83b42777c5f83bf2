"""The conda environments: those of the rules, at the lock's versions, with a hash for all that pip adds."""

import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from snakemake.deployment.conda import Env
from snakemake.sourcecache import SourceCache

ROOT = Path(__file__).resolve().parents[3]
FAMILIES = ("casa", "pipeline")


def entries(text):
    """Requirements of a pip file: name, version, and number of hashes."""
    found = set()
    for line in text.replace("\\\n", " ").splitlines():
        match = re.match(r"([a-z0-9][a-z0-9._-]*)==(\S+)", line)
        if match:
            found.add((match[1], match[2], line.count("--hash=sha256:")))
    return found


def test_the_environments_are_as_made_from_the_lock():
    done = subprocess.run(
        [sys.executable, ROOT / "tools" / "envs.py", "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"run tools/envs.py: {done.stdout}{done.stderr}"


@pytest.mark.parametrize("family", FAMILIES)
def test_what_pip_adds_has_the_versions_and_hashes_of_the_lock(family):
    added = entries((ROOT / "envs" / f"{family}.post-deploy.sh").read_text())
    locked = entries((ROOT / "requirements.lock").read_text())
    names = {name for name, _, _ in added}
    assert {"numpy", "python-casacore", "aoflagger"} <= names
    assert ("casatasks" in names) == (family == "casa")
    assert added <= locked
    assert len(names) == len(added)  # no package twice, of those that the lock has for several Pythons
    assert all(hashes > 0 for _, _, hashes in added)


def test_every_rule_names_one_of_them_and_each_is_named():
    rules = "\n".join(path.read_text() for path in (ROOT / "rules").glob("*.smk"))
    named = set(re.findall(r'"\.\./envs/(\w+)\.yaml"', rules))
    assert named == set(FAMILIES) == {path.stem for path in (ROOT / "envs").glob("*.yaml")}


@pytest.mark.parametrize("family", FAMILIES)
def test_snakemake_reads_the_environment_and_finds_its_post_deploy_script(family, tmp_path):
    """Snakemake's own class for environments, as far as it goes without a conda executable."""
    workflow = SimpleNamespace(
        sourcecache=SourceCache(tmp_path),
        deployment_settings=SimpleNamespace(apptainer_args=""),
        runtime_paths=None,
    )
    seen = Env(workflow, env_file=str(ROOT / "envs" / f"{family}.yaml"), envs_dir=str(tmp_path))
    wanted = yaml.safe_load(seen.content)["dependencies"]
    assert [line.split()[0] for line in wanted] == ["python", "pip"]
    assert entries(seen.content_deploy.decode()) <= entries((ROOT / "requirements.lock").read_text())


@pytest.mark.parametrize("family", FAMILIES)
def test_the_post_deploy_script_installs_exactly_that_and_nothing_without_a_hash(family, tmp_path):
    # a python that only shows how it was called, and what was in the file it was given
    fake = tmp_path / "python"
    fake.write_text('#!/bin/sh\necho "$@"\nfor last; do :; done\ncat "$last"\n')
    fake.chmod(0o755)
    script = ROOT / "envs" / f"{family}.post-deploy.sh"
    done = subprocess.run(
        ["bash", script],
        env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    )
    call, _, given = done.stdout.partition("\n")
    assert "--require-hashes" in call
    assert "--no-deps" in call
    assert entries(given) == entries(script.read_text())
