"""Image directories with the sidecar that a tile's has, for gates that must pass them and gates that must fail them."""

import json

import numpy as np
from astropy.io import fits

from builders.tile_images import write_tile
from contimg.qa.conditions import Pointing
from contimg.qa.job import QaTile
from contimg.qa.options import QaOptions

RMS_JY = 1e-3
NIGHT = Pointing(60978.5, 130.0, 55.0, -118.28, 37.23, 1188.0)  # 2025-10-30T12:00 UTC: 5 in the morning


def sky(count=30, seed=1, flux_jy=(0.05, 0.5)):
    """Sources well inside a tile at RA 130, Dec +55, none within 600 arcsec of another: name, ra, dec, flux."""
    rng = np.random.default_rng(seed)
    grid = np.array([(x, y) for x in np.linspace(-0.75, 0.75, 6) for y in np.linspace(-0.75, 0.75, 6)])
    offsets = grid[rng.permutation(len(grid))[:count]] + rng.uniform(-0.02, 0.02, (count, 2))
    ra, dec = 130.0 + offsets[:, 0] / np.cos(np.radians(55.0)), 55.0 + offsets[:, 1]
    flux = np.geomspace(*flux_jy, count)
    return [(f"S{i:02d}", *row) for i, row in enumerate(zip(ra, dec, flux, strict=True))]


def write_catalogue(path, sources, *, flux=1.0, east_arcsec=0.0):
    """A catalogue of the sources, its fluxes and places off by as much."""
    lines = ["name,ra_deg,dec_deg,flux_jy,spectral_index"]
    for name, ra, dec, jy in sources:
        lines.append(f"{name},{ra + east_arcsec / 3600 / np.cos(np.radians(dec))},{dec},{jy * flux},0")
    path.write_text("\n".join(lines) + "\n")
    return path


def metrics(**changes):
    """Of an image's sidecar: what the gates read."""
    values = {"rms_jy": RMS_JY, "thermal_from_weights_jy": 0.9 * RMS_JY}
    applied = {"noise_over_weights": 1.0, "sefd_jy": 6500.0, "flag_fraction": 0.1, "weight_uniformity": 0.95}
    for key, value in changes.items():
        (applied if key in applied else values)[key] = value
    left = {"scale": 0.0, "loss": 0.001, "loss_error": 0.001, "antennas": {}}
    return {"selfcal": {"left": left, "departed": {}}, "outside": {}, **values, "apply": applied}


def tile(root, sources, *, noise_jy=RMS_JY, alter=None, **changes):
    """Write an image directory of sources in noise; `alter` changes the planes image and pb before they are divided."""
    where = write_tile(
        root, "2025-10-30T12:00:00", 130.0, 55.0, sources=[row[1:] for row in sources], size=256,
        noise_jy=noise_jy, rms_jy=noise_jy,
    )  # fmt: skip
    if alter is not None:
        stem = where / where.name
        image = alter(fits.getdata(f"{stem}.image.fits"))
        pb = fits.getdata(f"{stem}.pb.fits")
        with fits.open(f"{stem}.pbcor.fits", mode="update") as hdus:
            hdus[0].data[:] = np.where(pb >= 0.2, image / pb, np.nan)
    state = {"status": "ok", "reason": None, "metrics": metrics(**changes)}
    (where / "status.json").write_text(json.dumps(state))
    return where


def judged(where, *, catalog=None, pointing=NIGHT, **options):
    """The verdict on an image directory."""
    job = QaTile(
        directory=str(where),
        verdict=str(where.parent / "verdict.json"),
        sources=str(where.parent / "sources.parquet"),
        catalog=catalog,
        options=QaOptions(confusion_mjy=0, **options),  # 1 mJy in a beam of 200 x 120 arcsec
        pointing=pointing,
    )
    job.make()
    return json.loads((where.parent / "verdict.json").read_text())
