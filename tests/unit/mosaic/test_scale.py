"""A tile that lost 8 % of its power: the mosaic says so, and divides it by its factor where that is asked for."""

import json

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from builders.qa_images import NIGHT, metrics
from builders.tile_images import fit_source, header_beam, write_strip
from contimg.core.products import read_json
from contimg.mosaic.job import Mosaic
from contimg.mosaic.options import MosaicOptions
from contimg.mosaic.windows import Window
from contimg.qa.job import QaMosaic, QaTile
from contimg.qa.options import QaOptions

LOST = 0.92


@pytest.fixture(scope="module")
def strip(tmp_path_factory):
    """Four tiles at the equator with sources of 0.2 to 1 Jy, of which the last reads 0.92; their verdicts."""
    root = tmp_path_factory.mktemp("strip")
    rng = np.random.default_rng(3)
    east, north = np.meshgrid(np.arange(-2.4, 2.5, 0.4), np.arange(-0.8, 0.9, 0.4))
    places = np.column_stack([east.ravel(), north.ravel()]) + rng.uniform(-0.03, 0.03, (east.size, 2))
    sources = [
        (130.0 + e, n, flux) for (e, n), flux in zip(places, rng.uniform(0.2, 1.0, east.size), strict=True)
    ]
    tiles = write_strip(root, ra_deg=130.0, dec_deg=0.0, count=4, sources=sources, noise_jy=1e-3, size=256)
    verdicts = []
    for number, tile in enumerate(tiles):
        if number == 3:
            for kind in ("image", "pbcor"):
                with fits.open(tile / f"{tile.name}.{kind}.fits", mode="update") as hdus:
                    hdus[0].data *= LOST
        (tile / "status.json").write_text(json.dumps({"status": "ok", "reason": None, "metrics": metrics()}))
        verdicts.append(root / f"{tile.name}.json")
        sources_path = root / f"{tile.name}.sources.parquet"
        QaTile(
            str(tile), str(verdicts[-1]), str(sources_path), None, QaOptions(confusion_mjy=0), NIGHT
        ).make()
    return root, tiles, verdicts, sources


def mosaic(strip, folder, scale):
    """Make and judge the mosaic: its verdict, what tiles were divided by, the ratio of sources of the last tile."""
    _, tiles, verdicts, sources = strip
    names = tuple(tile.name for tile in tiles)
    window = Window("mosaics/x/0840+00", "0840+00", None, 0.0, 60978.5, names, 60.0)
    paths = tuple(map(str, verdicts))
    where = folder / scale
    options = MosaicOptions(scale=scale)
    Mosaic(window, tuple(map(str, tiles)), paths, str(where), options, 1).make()
    QaMosaic(
        str(where), str(folder / f"{scale}.json"), str(folder / f"{scale}.parquet"), None,
        QaOptions(confusion_mjy=0), paths,
    ).make()  # fmt: skip
    image, header = fits.getdata(where / "0840+00.fits", header=True)
    # where the last tile, at +1.94 deg, has most of the weight
    last = [s for s in sources if 131.7 < s[0] < 132.3 and abs(s[1]) < 0.5]
    wcs, beam = WCS(header), header_beam(header)
    ratio = np.median([fit_source(image, wcs, ra, dec, beam)[0] / flux for ra, dec, flux in last])
    return read_json(folder / f"{scale}.json"), read_json(where / "status.json")["factors"], ratio


def test_a_tile_that_lost_power_fails_the_mosaic_unless_it_is_divided_by_its_factor(strip, tmp_path):
    _, tiles, *_ = strip
    record, factors, ratio = mosaic(strip, tmp_path, "none")
    assert record["gates"]["tile_scale"]["verdict"] == "fail"
    assert "tile_scale" in record["reason"]
    assert factors == {}
    # more than half of the weight is the last tile's
    assert ratio < 0.97
    record, factors, scaled = mosaic(strip, tmp_path, "tiles")
    assert record["gates"]["tile_scale"]["verdict"] == "pass"
    # factors are relative to their mean where no tile holds a transit: the last one's over the others'
    others = np.mean([factors.get(tile.name, 1.0) for tile in tiles[:3]])
    assert factors[tiles[3].name] / others == pytest.approx(LOST, abs=0.015)
    assert scaled / ratio == pytest.approx(1 / LOST, abs=0.05)
