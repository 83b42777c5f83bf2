"""The client installs light: it comes up where neither casacore nor the rest of the library is there."""

import subprocess
import sys
from pathlib import Path

SCRIPTS = Path(__file__).parents[3] / "scripts"
PROGRAM = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        heavy = {"casacore", "casatools", "astropy", "numba", "snakemake", "scipy", "fastapi", "yaml", "h5py"}
        if name.split(".")[0] in heavy:
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Absent())
import contimg.client
ours = {name.split(".")[1] for name in sys.modules if name.startswith("contimg.")}
print(*sorted(ours))
"""


def test_the_client_imports_nothing_of_the_library_but_what_the_service_says():
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={"PYTHONPATH": str(SCRIPTS)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert set(done.stdout.split()) == {"api", "client"}
