"""A published night loses its raw files and Measurement Sets on purpose: its products stay as they are."""

import pytest

from contimg.cli.main import main
from contimg.publish.versions import damaged, published_versions

from .conftest import QUICK, make_night

RELEASE = "retention={raw_days: 0, science_days: 0, calibrators_days: 0}"


@pytest.fixture(scope="module")
def published(tiny_options, tmp_path_factory):
    return make_night(tmp_path_factory.mktemp("published"), tiny_options, "publish", settings=QUICK)


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
