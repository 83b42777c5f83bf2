import argparse

import pytest

from contimg.cli import retry
from contimg.core.errors import InputError
from contimg.core.products import status, write_json
from contimg.jobs import frame


@pytest.fixture
def tree(tmp_path):
    """A rejected image, one that ended with an error, a Measurement Set likewise, and a killed job."""
    for name, reason in (("good", None), ("bad", "all flagged"), ("broken", "error: disk full")):
        write_json(tmp_path / "images" / "2025-10-30" / name / "status.json", status(reason))
    (tmp_path / "ms/science/2025-10-30/t.ms").mkdir(parents=True)
    write_json(tmp_path / "ms/science/2025-10-30/t.json", status("error: killed"))
    write_json(tmp_path / "qa/2025-10-30/odd.json", status("error: no such column"))
    write_json(tmp_path / "qa/2025-10-30/good.json", status("rms 4, limit 3"))
    write_json(tmp_path / "beam/2025-10-30_2025-10-31/status.json", status("error: no fit"))
    write_json(tmp_path / "state/published/2025-10-30.json", status("error: no such column"))
    write_json(tmp_path / "state/published/2025-10-30/0830+55.json", status("error: disk full"))
    write_json(tmp_path / "state/attempts/images!2025-10-30!killed/1.json", {})
    return tmp_path


def run(tree, *products):
    parser = argparse.ArgumentParser()
    retry.add_arguments(parser)
    return retry.run(parser.parse_args([*products, "--products", str(tree)]))


def test_everything_that_ended_with_an_error_is_made_again_and_nothing_else(tree):
    assert run(tree) == 0
    left = sorted(str(path.relative_to(tree)) for path in tree.glob("images/*/*"))
    assert left == ["images/2025-10-30/bad", "images/2025-10-30/good"]
    assert list(tree.glob("ms/science/*/*")) == []
    assert [path.name for path in tree.glob("qa/*/*")] == ["good.json"]
    assert [*tree.glob("beam/*"), *tree.glob("state/published/**/*.json")] == []
    assert frame.killed(tree) == []


def test_one_product_can_be_named(tree):
    run(tree, "images/2025-10-30/broken")
    assert not (tree / "images/2025-10-30/broken").exists()
    assert (tree / "ms/science/2025-10-30/t.ms").exists()
    assert frame.killed(tree) == ["images/2025-10-30/killed"]


def test_a_product_may_be_named_by_its_sidecar_and_the_tree_by_the_configuration(tree):
    parser = argparse.ArgumentParser()
    retry.add_arguments(parser)
    asked = ["ms/science/2025-10-30/t.json", "--config", f"products={tree}", f"incoming={tree}"]
    assert retry.run(parser.parse_args(asked)) == 0
    assert list(tree.glob("ms/science/*/*")) == []
    assert (tree / "images/2025-10-30/broken").exists()


def test_a_product_without_an_error_is_refused(tree):
    with pytest.raises(InputError, match=r"images/2025-10-30/good: neither ended with an error"):
        run(tree, "images/2025-10-30/good")
