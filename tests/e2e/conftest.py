"""Simulated nights, run once through the whole workflow; every test looks at another side of them."""

import os
import shutil
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from contimg.simulate import simulate
from contimg.simulate.options import Fault, SimOptions, Source, preset
from contimg.simulate.truth import Truth

CLONE = Path(__file__).parents[2]

# What passes through every stage need not be the best image, nor the whole beam: one round of solving, a shallow CLEAN
# of two degrees, and every tile in one mosaic instead of two.
QUICK = (
    "calibration={find_neighbours: false}",
    "imaging={quality_tier: development, imsize: 1024}",
    "mosaic={stride_minutes: 60}",
)

# Additions in threads come in any order, and WSClean's pixels are float32: rounding of some 100 operations, no more.
SINGLE_PRECISION = 1e-5

CALIBRATOR_JY = 1.0
"""Of a night's own sources those above this are in its list of calibrators."""

ODD = "we ird é#%&,=(x)~!@ -y"
"""A directory whose name has all that is accepted in paths: some nights lie in one."""


@dataclass(frozen=True)
class Made:
    """A night that went through the workflow."""

    truth: Truth
    incoming: Path
    products: Path
    settings: tuple[str, ...]  # further --config KEY=VALUE
    terminal: str  # what the run printed

    def snakemake(self, *arguments: str, settings: tuple[str, ...] = (), check: bool = True):
        """Run the workflow on this night again."""
        return snakemake(
            *arguments,
            incoming=self.incoming,
            products=self.products,
            settings=self.settings + settings,
            check=check,
        )

    def directories(self, kind: str) -> list[Path]:
        """Product directories of a kind, `images` or `mosaics`."""
        return sorted(path.parent for path in self.products.glob(f"{kind}/*/*/status.json"))


def command(*arguments: str, incoming: Path, products: Path, settings: tuple[str, ...] = ()) -> list[str]:
    """The command line of a run, as a user types it in the clone."""
    pairs = (f"incoming={incoming}", f"products={products}", *settings)
    return [sys.executable, "-m", "snakemake", *arguments, "--config", *pairs]


def snakemake(
    *arguments: str, incoming: Path, products: Path, settings: tuple[str, ...] = (), check: bool = True
) -> subprocess.CompletedProcess[str]:
    """Run the workflow to its end; with `check` a failed run fails the test and shows what it printed."""
    done = subprocess.run(
        command(*arguments, incoming=incoming, products=products, settings=settings),
        cwd=CLONE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
    )
    if check and done.returncode:
        pytest.fail(f"snakemake ended with {done.returncode}:\n{done.stdout[-6000:]}")
    return done


@contextmanager
def running(words: list[str], terminal: Path, path: str = os.environ["PATH"]):
    """A run in the background; killed at the end if it still lives."""
    with terminal.open("w") as sink:
        run = subprocess.Popen(
            words,
            cwd=CLONE,
            stdout=sink,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PATH": path, "PYTHONWARNINGS": "ignore"},
        )
        try:
            yield run
        finally:
            run.kill()
            run.wait()


def write_calibrators(path: Path, sources: tuple[Source, ...]) -> Path:
    """A calibrator catalogue of simulated sources."""
    lines = ["name,ra_deg,dec_deg,flux_jy,spectral_index,origin"]
    lines += [f"{s.name},{s.ra_deg},{s.dec_deg},{s.flux_jy},{s.spectral_index},simulated" for s in sources]
    path.write_text("\n".join(lines) + "\n")
    return path


def make_night(
    where: Path,
    options: SimOptions,
    *targets: str,
    settings: tuple[str, ...] = (),
    check: bool = True,
    cores: int = 2,
) -> Made:
    """Simulate a night and take it through the workflow."""
    incoming, products = where / "incoming", where / "products"
    truth = simulate(options, incoming)
    listed = tuple(source for source in options.sources if source.flux_jy >= CALIBRATOR_JY)
    catalogue = write_calibrators(where / "calibrators.csv", listed)
    settings = (f"calibrators={catalogue}", *settings)
    done = snakemake(
        "--cores", str(cores), *targets, incoming=incoming, products=products, settings=settings, check=check
    )
    return Made(truth, incoming, products, settings, done.stdout)


@pytest.fixture(scope="session")
def night(tmp_path_factory) -> Made:
    """The demo: five tiles at +55 with what real arrays have, RFI and three faults; a catalogue names the sources."""
    where = tmp_path_factory.mktemp("night")
    return make_night(
        where, preset("demo"), "qa", settings=(f"catalog={where / 'incoming' / 'sources.csv'}",)
    )


def strip(dec_deg: float, calibrator: Source, **changes: object) -> SimOptions:
    """Three tiles of another strip, with the plain night's array and errors but for the drift of phases."""
    return replace(
        preset("plain"),
        dec_deg=dec_deg,
        n_tiles=3,
        transit_of=calibrator.name,
        transit_tile=1,
        sources=(calibrator,),
        faults=(),
        phase_drift="off",
        **changes,
    )


# So small that Stokes I hardly knows: the mean of two beams 0.12 deg apart is 0.1 % lower in the middle than one.
SQUINT = {"beam_squint_ha_deg": 0.05, "beam_squint_dec_deg": -0.03}


@pytest.fixture(scope="session")
def south(tmp_path_factory) -> Made:
    """A strip at -5, across RA 0h and midnight UTC at once; WSClean; a catalogue names the neighbours; beams squint."""
    # On 2026-01-19 the local sidereal time at Owens Valley is 0h at 00:00 UTC.
    options = strip(-5.0, Source("0000-053", 0.3, -5.3, 7.0, -0.6), start="2026-01-19", seed=5, **SQUINT)
    where = tmp_path_factory.mktemp("south")
    return make_night(where, options, "mosaic", settings=(f"catalog={where / 'incoming' / 'sources.csv'}",))


@pytest.fixture(scope="session")
def north(tmp_path_factory) -> Made:
    """A strip at +70, imaged with CASA tclean."""
    options = strip(70.0, Source("1300+702", 195.0, 70.2, 8.0, -0.5), seed=70)
    return make_night(
        tmp_path_factory.mktemp("north"), options, "mosaic", settings=("imaging={backend: tclean}",)
    )


@pytest.fixture(scope="session")
def tiny_options() -> SimOptions:
    """Three tiles of ten antennas: enough to go through every stage, in seconds."""
    return replace(preset("tiny"), n_tiles=3, transit_tile=1)


@pytest.fixture(scope="session")
def clean(tiny_options, tmp_path_factory) -> Made:
    """Those three tiles without a fault, published."""
    return make_night(tmp_path_factory.mktemp("clean"), tiny_options, "publish", settings=QUICK)


def linked(tree: Path, copy: Path) -> Path:
    """A products tree that a run may change and the original does not notice: products are never written in place."""
    shutil.copytree(
        tree, copy, symlinks=True, copy_function=os.link, ignore=shutil.ignore_patterns(".snakemake", "state")
    )
    for folder in (".snakemake", "state"):
        shutil.copytree(tree / folder, copy / folder, symlinks=True)
    return copy


@contextmanager
def put_back(incoming: Path, aside: Path):
    """Raw files that a test may move or delete: afterwards they are there again, as old as they were."""
    shutil.copytree(incoming, aside, copy_function=os.link)
    try:
        yield
    finally:
        for path in aside.rglob("*.hdf5"):
            there = incoming / path.relative_to(aside)
            if not there.exists():
                os.link(path, there)


@contextmanager
def restored(made: Made, aside: Path):
    """A night of which a test may change products and raw files where they are: afterwards all is as it was."""
    kept = linked(made.products, aside / "products")
    with put_back(made.incoming, aside / "incoming"):
        yield made
    shutil.rmtree(made.products)
    shutil.move(kept, made.products)


def fault(kind: str, tile: int, subband: int | None = None) -> Fault:
    """A fault of the simulator."""
    return Fault(kind, tile, subband)


def in_jy_or_ratio(path):
    """Pixels of a product; weights, which are 1/rms², as the rms they stand for."""
    pixels = fits.getdata(path)
    if not path.name.endswith(".weights.fits"):
        return pixels
    with np.errstate(divide="ignore"):
        return np.where(pixels > 0, 1 / np.sqrt(pixels), 0)


def scale_of(path):
    """What a product's rounding errors are a fraction of: the peak of the image that it belongs to, in Jy/beam.

    Noise and weights are measured on the image, so their errors are the image's, however small the noise itself is.
    """
    images = [
        path.with_name(path.name.replace(".weights.", name).replace(".rms.", name))
        for name in (".pbcor.", ".")
    ]
    image = next((image for image in images if image.exists()), path)
    return np.nanmax(np.abs(fits.getdata(image)))


def expect_same_pixels(products: Path, reference: Path) -> None:
    """Check that a tree holds the images and mosaics of another, with the same pixels."""
    expected = sorted(path.relative_to(reference) for path in reference.glob("[im]*s/*/*/*.fits"))
    assert expected
    assert sorted(path.relative_to(products) for path in products.glob("[im]*s/*/*/*.fits")) == expected
    largest = 0.0
    for path in expected:
        one, other = in_jy_or_ratio(reference / path), in_jy_or_ratio(products / path)
        scale = scale_of(reference / path)
        np.testing.assert_allclose(other, one, rtol=0, atol=SINGLE_PRECISION * scale, err_msg=str(path))
        largest = max(largest, float(np.nanmax(np.abs(other - one))) / scale)
    print(f"largest difference of {len(expected)} planes of images and mosaics, of the peak: {largest:.2g}")
