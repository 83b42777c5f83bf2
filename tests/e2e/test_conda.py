"""The conda environments without conda: each post-deploy script in a bare environment, and the library in it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# The service and the client ship apart; all else has to come with the environment of a rule.
IMPORT_ALL = """
import importlib, pkgutil, contimg
apart = {"service", "client", "api"}
names = [m.name for m in pkgutil.walk_packages(contimg.__path__, "contimg.") if m.name.split(".")[1] not in apart]
for name in names:
    importlib.import_module(name)
print(len(names))
"""


@pytest.mark.parametrize("family", ["casa", "pipeline"])
def test_every_module_of_the_library_is_imported_from_what_the_post_deploy_script_installs(family, tmp_path):
    prefix = tmp_path / family
    subprocess.run([sys.executable, "-m", "venv", prefix], check=True)
    env = {**os.environ, "PATH": f"{prefix / 'bin'}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": ""}
    built = subprocess.run(
        ["bash", ROOT / "envs" / f"{family}.post-deploy.sh"],
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stderr[-2000:]
    env["PYTHONPATH"] = str(ROOT / "scripts")
    found = subprocess.run(
        [prefix / "bin" / "python", "-s", "-c", IMPORT_ALL],
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stderr[-2000:]
    assert int(found.stdout.split()[-1]) > 200
    casa = subprocess.run([prefix / "bin" / "python", "-s", "-c", "import casatools"], env=env, check=False)
    assert (casa.returncode == 0) == (family == "casa")
