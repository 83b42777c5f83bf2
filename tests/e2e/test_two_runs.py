"""Two runs at once on one products tree, of the same dates and of others: the second stops, nothing is harmed."""

import os
import signal
import subprocess
import time

import pytest

from contimg.core.products import read_json
from contimg.jobs import frame

from .conftest import CLONE, command

FIRST, OTHER = 0, 2  # tiles
PATIENCE_S = 900


def only(tile, truth):
    """The range of one tile."""
    following = [other.name for other in truth.tiles if other.name > tile]
    return f"start={tile}", f"end={following[0] if following else '2026-01-01'}"


@pytest.fixture(scope="module")
def both(clean, tmp_path_factory):
    """A run of the first tile that stands still in the midst of its work, and what two others say meanwhile.

    It stands still (SIGSTOP) so that the others meet it however slow they start; then it goes on.
    """
    products = tmp_path_factory.mktemp("both") / "products"
    tiles = [tile.name for tile in clean.truth.tiles]

    def words(tile):
        settings = (*clean.settings, *only(tile, clean.truth))
        return command(
            "--cores", "2", "convert", incoming=clean.incoming, products=products, settings=settings
        )

    first = subprocess.Popen(
        words(tiles[FIRST]), cwd=CLONE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    end = time.monotonic() + PATIENCE_S
    while not frame.killed(products) and first.poll() is None and time.monotonic() < end:
        time.sleep(0.02)
    os.kill(first.pid, signal.SIGSTOP)
    try:
        seconds = {
            kind: subprocess.run(words(tiles[tile]), cwd=CLONE, capture_output=True, text=True, check=False)
            for kind, tile in (("same dates", FIRST), ("other dates", OTHER))
        }
    finally:
        os.kill(first.pid, signal.SIGCONT)
    code = first.wait(PATIENCE_S)
    late = subprocess.run(words(tiles[OTHER]), cwd=CLONE, capture_output=True, text=True, check=False)
    return products, first.pid, code, seconds, late


@pytest.mark.parametrize("kind", ["same dates", "other dates"])
def test_the_second_stops_at_once_and_says_who_holds_the_tree(both, kind):
    _, pid, _, seconds, _ = both
    assert seconds[kind].returncode == 1
    (line,) = [line for line in seconds[kind].stderr.splitlines() if "another run" in line]
    assert f"another run writes this products tree (pid {pid} on" in line
    assert "Traceback" not in seconds[kind].stderr


def test_the_first_works_on_and_the_second_works_after_it(both, clean):
    products, _, code, _, late = both
    assert (code, late.returncode) == (0, 0), late.stderr[-6000:]
    sidecars = sorted(products.glob("ms/science/*/*.json"))
    assert [path.stem for path in sidecars] == [clean.truth.tiles[number].name for number in (FIRST, OTHER)]
    for path in sidecars:
        alone = read_json(clean.products / path.relative_to(products))
        assert read_json(path)["contents"] == alone["contents"]
    assert list(products.glob("**/*.part.*")) == []
    assert frame.killed(products) == []
