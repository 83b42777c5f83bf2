"""`contimg watch --once`: what is ready is made, and the next look makes nothing of it again."""

import json

import pytest

from builders import service_trees as trees
from contimg.cli.main import main
from contimg.core import names
from contimg.service.settings import Settings
from contimg.service.store import Store


@pytest.fixture
def settings(tmp_path, monkeypatch):
    found = trees.make(tmp_path, tiles=2, start="2025-10-30", min_subbands=1, service={"settle_minutes": 0.0})
    monkeypatch.setattr(Settings, "of", lambda _config: found)
    return found


def test_it_makes_what_is_ready_ends_and_makes_nothing_twice(settings):
    words = ["watch", "--once", "--config", f"incoming={settings.config.incoming}"]
    words += [f"products={settings.products}"]
    assert main(words) == 0
    assert sorted(trees.starts(settings)) == [trees.tile(0), trees.tile(1)]
    for number in (0, 1):
        sidecar = settings.products / names.image_dir(trees.tile(number)) / "status.json"
        assert json.loads(sidecar.read_text())["status"] == "ok"
    assert main(words) == 0
    assert len(trees.starts(settings)) == 2
    trees.add_tile(settings.config.incoming, 2)
    assert main(words) == 0
    assert trees.starts(settings)[2:] == [trees.tile(2)]
    store = Store(settings.state / "jobs.sqlite3")
    assert not store.ids("pending", "running", "failed")
    assert dict(store.ask("SELECT name, state FROM watched")) == {
        trees.tile(number): "done" for number in range(3)
    }


def test_it_does_not_work_beside_a_service_on_the_same_tree(settings, capsys):
    from contimg.service.app import Parts

    parts = Parts(settings, watch=False)
    words = ["watch", "--once", "--config", f"incoming={settings.config.incoming}"]
    assert main(words) != 0
    assert "another service" in capsys.readouterr().err
    parts.close(began=False)
