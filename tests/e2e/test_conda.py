"""The conda environments without conda: each made bare by its post-deploy script, the library and a night in them.

No conda can be had here. What stands in for it makes the environment that the file asks for, Python and pip, as a bare
virtual environment, and activates it as conda would; all else is Snakemake's own `--sdm conda`.
"""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from .conftest import CLONE, command, expect_same_pixels

# The service and the client ship apart; all else has to come with the environment of a rule.
IMPORT_ALL = """
import importlib, pkgutil, contimg
apart = {"service", "client", "api"}
names = [m.name for m in pkgutil.walk_packages(contimg.__path__, "contimg.") if m.name.split(".")[1] not in apart]
for name in names:
    importlib.import_module(name)
print(len(names))
"""
CONDA = """#!{python}
import json, pathlib, subprocess, sys
words = sys.argv[1:]
if words == ["info", "--json"]:
    print(json.dumps({{"conda_prefix": {root!r}, "platform": "linux-64"}}))
elif words == ["--version"]:
    print("conda 26.7.0")
elif words[:2] == ["config", "--get"]:
    print(json.dumps({{"get": {{"channel_priority": "strict"}}}}))
elif words[0] == "clean":
    pass
elif words[:2] == ["env", "create"]:
    prefix = words[words.index("--prefix") + 1]
    subprocess.run([sys.executable, "-m", "venv", prefix], check=True)
    (site,) = pathlib.Path(prefix, "lib").glob("python3*/site-packages")
    (site / "sitecustomize.py").write_text({witness!r})
else:
    sys.exit(f"conda {{words}}: not looked for")
"""
ACTIVATE = 'export CONDA_PREFIX="$1" PATH="$1/bin:$PATH"\n'
# Each script that an environment's own interpreter runs is noted.
WITNESS = """
import os, sys
if len(sys.orig_argv) > 1 and ".py" in sys.orig_argv[1]:
    with open(os.path.join(sys.prefix, "scripts"), "a") as sink:
        sink.write(os.path.basename(sys.orig_argv[1]).split(".", 1)[1] + "\\n")
"""


@dataclass(frozen=True)
class Rerun:
    """A night whose rules had the environments' interpreters."""

    products: Path
    prefixes: dict[str, Path]  # of casa and pipeline
    terminal: str


@pytest.fixture(scope="module")
def rerun(clean, tmp_path_factory) -> Rerun:
    """The clean night again, from its raw files to its mosaic."""
    where = tmp_path_factory.mktemp("conda")
    root, products = where / "conda", where / "products"
    (root / "bin").mkdir(parents=True)
    conda = root / "bin" / "conda"
    conda.write_text(CONDA.format(python=sys.executable, root=str(root), witness=WITNESS))
    conda.chmod(0o755)
    (root / "bin" / "activate").write_text(ACTIVATE)
    words = ("--cores", "2", "--sdm", "conda", "--conda-prefix", str(where / "envs"), "mosaic")
    done = subprocess.run(
        command(*words, incoming=clean.incoming, products=products, settings=clean.settings),
        cwd=CLONE,
        env={
            **os.environ,
            "PATH": f"{root / 'bin'}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": "",
            "PIP_NO_COMPILE": "0",  # pip's word for not compiling 20,000 files, of which jobs import few
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-6000:]
    prefixes = {
        "casa"
        if "casatasks" in path.with_suffix(".post-deploy.sh").read_text()
        else "pipeline": path.with_suffix("")
        for path in (where / "envs").glob("*.yaml")
    }
    return Rerun(products, prefixes, done.stdout)


def test_a_night_in_the_environments_has_the_pixels_of_one_outside(rerun, clean):
    expect_same_pixels(rerun.products, clean.products)


def test_every_rule_ran_with_the_interpreter_of_its_environment(rerun):
    ran = {family: set((prefix / "scripts").read_text().split()) for family, prefix in rerun.prefixes.items()}
    assert ran == {
        "casa": {"calibrate_transit.py", "image_tile.py"},
        "pipeline": {"convert_tile.py", "qa_tile.py", "mosaic_window.py"},
    }


def test_images_say_the_same_imager_inside_and_outside(rerun, clean):
    for status in clean.products.glob("images/*/*/status.json"):
        inside = json.loads((rerun.products / status.relative_to(clean.products)).read_text())
        assert inside["parameters"]["imager"] == json.loads(status.read_text())["parameters"]["imager"]


@pytest.mark.parametrize("family", ["casa", "pipeline"])
def test_every_module_of_the_library_is_imported_from_what_the_post_deploy_script_installs(family, rerun):
    python = rerun.prefixes[family] / "bin" / "python"
    env = {**os.environ, "PYTHONPATH": str(CLONE / "scripts")}
    found = subprocess.run(
        [python, "-s", "-c", IMPORT_ALL], env=env, capture_output=True, text=True, check=False
    )
    assert found.returncode == 0, found.stderr[-2000:]
    assert int(found.stdout.split()[-1]) > 200
    casa = subprocess.run([python, "-s", "-c", "import casatools"], env=env, check=False)
    assert (casa.returncode == 0) == (family == "casa")
