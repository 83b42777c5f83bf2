#!/usr/bin/env python3
"""Make the conda environments of the rules, envs/*.yaml, with what pip adds to them, from requirements.lock.

    python tools/envs.py            write envs/{family}.yaml and envs/{family}.post-deploy.sh
    python tools/envs.py --check    exit with 1 if one of them is not as written

Python and pip come from conda, all else from PyPI, where CASA, casacore and AOFlagger have wheels. Pin files hold no
pip packages, so the post-deploy script, which Snakemake runs in a new environment, installs them at the lock's versions
and with its hashes. What a family needs follows from its roots and the metadata of the installed packages: run this
with .venv/bin/python.
"""

import sys
import tomllib
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
PYTHON = {"python_version": "3.11", "python_full_version": "3.11.0", "extra": ""}
CASA = {"casatools", "casatasks", "casadata", "casaconfig", "six"}
ENGINE = {"snakemake", "snakemake-executor-plugin-slurm", "snakemake-interface-logger-plugins"}
# What each family leaves out of the dependencies of `contimg[pipeline]`, which pyproject.toml declares.
FAMILIES = {
    "pipeline": ("conversion, flagging, mosaics and what follows them", CASA),
    "casa": ("calibration and imaging, which call CASA", ENGINE),
}

YAML = """\
# Made by tools/envs.py from requirements.lock. Do not edit. For {what}.
# What pip adds is in {family}.post-deploy.sh. WSClean comes from the machine; without it CASA tclean images.
channels:
  - conda-forge
dependencies:
  - python =3.11
  - pip =={pip}
"""
SCRIPT = """\
#!/usr/bin/env bash
# Made by tools/envs.py from requirements.lock. Do not edit. Snakemake runs it in the new environment.
set -euo pipefail
export PYTHONNOUSERSITE=1  # what the user has in ~/.local is not this environment's
lock=$(mktemp)
build=$(mktemp)
trap 'rm -f "$lock" "$build"' EXIT
cat >"$build" <<'LOCK'
{build}
LOCK
cat >"$lock" <<'LOCK'
{lock}
LOCK
pip() {{
    python -m pip --disable-pip-version-check --no-input install --no-deps --require-hashes --only-binary :all: "$@"
}}
# One package has no wheel (connection-pool, which Snakemake needs): it is built with the lock's own setuptools.
pip -r "$build"
pip --no-build-isolation --use-pep517 --no-binary connection-pool -r "$lock"
"""


def roots(left_out: set[str]) -> list[str]:
    """What `contimg` and its extra `pipeline` depend on, but for some."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = [*project["dependencies"], *project["optional-dependencies"]["pipeline"]]
    wanted = [requirement for requirement in map(Requirement, lines) if requirement.name not in left_out]
    return sorted({each.name for each in wanted if each.marker is None or each.marker.evaluate(PYTHON)})


def locked() -> dict[str, str]:
    """The lock's entries for Python 3.11 by canonical name, each as it is written, with its hashes."""
    entries = {}
    text = (ROOT / "requirements.lock").read_text().replace("\\\n", "\\\0")
    for line in text.splitlines():
        if line and not line.startswith("#"):
            requirement = Requirement(line.partition("\\\0")[0].strip())
            if requirement.marker is None or requirement.marker.evaluate(PYTHON):
                entries[canonicalize_name(requirement.name)] = line.replace("\\\0", "\\\n").rstrip("\\\n ")
    return entries


def closure(names: list[str], lock: dict[str, str]) -> list[str]:
    """Packages and all that they need, by the metadata of what is installed, sorted."""
    found, todo = set(), [canonicalize_name(name) for name in names]
    while todo:
        name = todo.pop()
        if name in found or name not in lock:
            continue
        found.add(name)
        for line in metadata.requires(name) or []:
            requirement = Requirement(line)
            if requirement.marker is None or requirement.marker.evaluate(PYTHON):
                todo.append(canonicalize_name(requirement.name))
    return sorted(found)


def rendered() -> dict[Path, str]:
    """Every file with its text."""
    lock = locked()
    pip = Requirement(lock["pip"].split("\\")[0]).specifier
    files = {}
    for family, (what, left_out) in FAMILIES.items():
        base = ROOT / "envs" / family
        files[base.with_suffix(".yaml")] = YAML.format(
            what=what, family=family, pip=str(pip).removeprefix("==")
        )
        entries = "\n".join(lock[name] for name in closure(roots(left_out), lock))
        build = "\n".join(lock[name] for name in ("setuptools", "wheel") if name in lock)
        files[base.with_suffix(".post-deploy.sh")] = SCRIPT.format(lock=entries, build=build)
    return files


def main() -> int:
    """Write or check the files."""
    stale = [path for path, text in rendered().items() if not path.is_file() or path.read_text() != text]
    for path in stale:
        print(f"{'not as made' if '--check' in sys.argv else 'written'}: {path.relative_to(ROOT)}")
        if "--check" not in sys.argv:
            path.write_text(rendered()[path])
            path.chmod(0o755 if path.suffix == ".sh" else 0o644)
    return 1 if stale and "--check" in sys.argv else 0


if __name__ == "__main__":
    sys.exit(main())
