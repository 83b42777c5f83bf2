"""Every test that docs/reliability.md names is there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "reliability.md").read_text()
NAMED = sorted(set(re.findall(r"`((?:[\w/]+\.py(?:::)?|…)[\w…]*)`", PAGE)))


def test_the_page_names_tests():
    assert len(NAMED) > 40


@pytest.mark.parametrize("name", NAMED)
def test_a_test_that_the_page_names_is_there(name):
    path, _, function = name.rpartition("::") if "::" in name else ("", "", name)
    if name.endswith(".py"):
        path, function = name, ""
    files = [path] if path else re.findall(r"`([\w/]+\.py)", PAGE)
    texts = [
        (ROOT / base / one).read_text()
        for one in files
        for base in ("tests/unit", "", "scripts")
        if (ROOT / base / one).is_file()
    ]
    assert texts
    parts = [part for part in function.split("…") if part]
    pattern = re.compile("def test_\\w*" + "\\w*".join(part.removeprefix("test_") for part in parts))
    assert not parts or any(pattern.search(text) for text in texts)
