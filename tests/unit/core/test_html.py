"""The pages' templates: all are well-formed, escaped, packaged, and say in words what they show in colour."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from contimg.core import html
from contimg.core.html import PACKAGE, State, Table, environment, reason_page, render

ROOT = Path(__file__).parents[3]
TEMPLATES = sorted(
    str(path.relative_to(PACKAGE)) for path in PACKAGE.glob("*/templates/*") if path.name != "parts.html"
)
PARTS = '{% from "core/templates/parts.html" import table %}{{ table(content) }}'


def drawn(content: Table) -> str:
    return environment().from_string(PARTS).render(content=content)


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_template_is_well_formed_and_extends_the_base(name):
    text = (PACKAGE / name).read_text()
    environment().get_template(name)
    if name.endswith(".html") and not Path(name).name.startswith(("_", "base")):
        assert re.match(r'{% extends "(core|service)/templates/base.html" %}', text)


def test_what_is_filled_in_is_escaped_and_nothing_that_a_template_needs_may_be_missing():
    text = reason_page("<i>Night</i>", 'a "quoted" <script>')
    assert "<script>" not in text
    assert "&lt;script&gt;" in text
    assert "&lt;b&gt;" in drawn(Table(("<b>",), [("<b>",)]))
    with pytest.raises(Exception, match="reason"):
        render("core/templates/reason.html", title="Night")


def test_a_table_names_its_columns_in_every_cell_for_a_telephone_and_a_state_has_a_mark_and_a_word():
    text = drawn(Table(("tile", "rms"), [(State("rejected"), 2.5)], (1,)))
    assert '<td class="n" data-head="rms">2.5</td>' in text
    assert "✗</i>rejected" in text
    assert "max-width:40rem" in (html.STATIC / "style.css").read_text()


def test_states_differ_by_colour_and_by_mark():
    assert html.COLOURS.keys() == html.MARKS.keys()
    for table in (html.COLOURS, html.MARKS):
        assert len(set(table.values())) == len(table)


def test_everything_beside_the_modules_is_installed_with_them():
    patterns = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]["*"]
    files = [path for path in PACKAGE.rglob("*") if path.is_file() and path.parent.name != "__pycache__"]
    missing = [
        path for path in files if path.suffix != ".py" and not any(path.match(one) for one in patterns)
    ]
    assert missing == []


def test_the_pages_module_is_imported_without_the_engine_of_the_templates():
    code = "import sys, contimg.plan.page, contimg.report.page; print('jinja2' in sys.modules)"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "False"
