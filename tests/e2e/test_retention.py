"""A published night loses its raw files and Measurement Sets on purpose: its products stay as they are."""

import shutil

import pytest

from contimg.cli.main import main
from contimg.publish.versions import damaged, published_versions

from .conftest import restored

RELEASE = "retention={raw_days: 0, science_days: 0, calibrators_days: 0}"


@pytest.fixture
def published(clean, tmp_path):
    with restored(clean, tmp_path) as night:  # a copy would be another tree, which needs the same raw files
        shutil.rmtree(clean.incoming / ".contimg")  # and so would the trees of other tests: they are given up
        yield night


def test_what_is_retired_is_neither_missed_nor_made_again(published, capsys):
    products, incoming = published.products, published.incoming
    versions = [version for path in products.glob("published/*/*/") for version in published_versions(path)]
    assert versions
    assert [line for version in versions for line in damaged(version)] == []
    mosaics = published.directories("mosaics")
    pairs = (f"incoming={incoming}", f"products={products}", *published.settings, RELEASE)
    assert main(["retention", "--apply", "--config", *pairs]) == 0
    assert "GB gone" in capsys.readouterr().out
    assert list(incoming.glob("*.hdf5")) == []
    assert list(products.glob("ms/*/*/*.ms")) == []
    for target in ("publish", "mosaic"):
        assert "Nothing to be done" in published.snakemake("-n", target).stdout
    published.snakemake("--cores", "1", "publish")
    assert published.directories("mosaics") == mosaics
    # other settings of what the lost data were needed for do not make it again either
    changed = published.snakemake("-n", "publish", settings=("imaging={quality_tier: standard}",)).stdout
    assert "image_tile" not in changed
    assert_every_range_still_plans(published)


def assert_every_range_still_plans(published):
    """Whatever is asked for later, or was lost: what cannot be made is left out and said, and all else is planned."""
    products = published.products
    catalogue = products.parent / "more.csv"
    lines = (published.incoming.parent / "calibrators.csv").read_text().splitlines()
    weaker = [",".join(["weaker", line.split(",")[1], *line.split(",")[2:]]) for line in lines[1:2]]
    catalogue.write_text("\n".join([*lines, *weaker]) + "\n")
    assert "Nothing to be done" in published.snakemake("-n", "beam").stdout
    injected = published.snakemake("-n", "qa", settings=("qa={injection_minutes: 3}",)).stdout
    assert "injected sources cannot be made any more" in injected
    assert "inject_tile" not in injected
    another = (f"calibrators={catalogue}", "calibration={min_flux_jy: 0.01, find_neighbours: false}")
    assert "caltables cannot be made any more" in published.snakemake("-n", settings=another).stdout
    shutil.rmtree(next(products.glob("cal/*/*")))
    assert "1 caltables cannot be made any more" in published.snakemake("-n").stdout
    image = next(products.glob("images/*/*"))
    shutil.rmtree(image)
    lost = published.snakemake("-n", "publish").stdout
    assert f"1 images cannot be made any more, their data are retired: {image.name}" in lost
    assert "it stays as it is" in lost
    assert "mosaic_window" not in lost
