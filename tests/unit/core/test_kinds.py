"""The two tables: every kind's pattern makes and parses its paths; every working rule of Snakemake is a row."""

import re
from pathlib import Path

import pytest

from contimg.core import names
from contimg.core.kinds import KINDS
from contimg.core.rules import RULES

RULE_FILES = Path(__file__).parents[3] / "rules"
WORDS = {
    "date": "2025-10-30",
    "tile": "2025-10-30T13:00:00",
    "first": "2025-10-30T13:00:00",
    "last": "2025-10-30T14:00:00",
    "calibrator": "0834+555",
    "mosaic": "0830+55",
    "product": "0830+55",
}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_path_made_by_a_kind_is_told_to_be_of_it(kind):
    path = kind.path.format(**WORDS)
    found, log = names.log_of(path)
    assert found is kind
    assert log.startswith(f"logs/{kind.rule}/")
    assert "{" not in log


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_sidecar_is_found_by_the_pattern_of_its_kind(kind, tmp_path):
    sidecar = tmp_path / kind.sidecar_of(kind.path.format(**WORDS))
    sidecar.parent.mkdir(parents=True)
    sidecar.write_text("{}")
    assert list(tmp_path.glob(kind.glob)) == [sidecar]


def rule_texts():
    """The working rules as they are written: by name, those with a script."""
    text = "\n".join(path.read_text() for path in sorted(RULE_FILES.glob("*.smk")))
    blocks = re.split(r"^(?=rule |use rule )", text, flags=re.MULTILINE)
    named = {re.match(r"(?:use rule \w+ as|rule) (\w+)", block): block for block in blocks}
    return {
        match[1]: block
        for match, block in named.items()
        if match and ("script:" in block or "use rule" in block)
    }


def test_every_working_rule_is_a_row_with_its_log_and_benchmark():
    texts = rule_texts()
    assert set(texts) - {"plan", "firstlight"} == {rule.name for rule in RULES}
    for rule in RULES:
        text = texts[rule.name]
        assert f'"{rule.log}"' in text, rule.name
        table = rule.log.replace("logs/", "benchmarks/").replace(".log", ".tsv")
        assert f'"{table}"' in text, rule.name
        assert ("priority:" in text) == bool(rule.priority), rule.name
        assert not rule.priority or f"priority: {rule.priority}" in text, rule.name


def test_every_output_of_a_rule_is_a_kind_its_sidecar_or_known_beside_them():
    texts = rule_texts()
    paths = {kind.path for kind in KINDS} | {kind.sidecar_of(kind.path) for kind in KINDS}
    # tables and pages that a verdict or a night brings along, and the registries
    beside = re.compile(
        r"qa/\{date\}(/injection)?(/\{\w+\})?\.(sources\.parquet|html|json|parquet)|state/\w+\.sqlite3"
        r"|variability/(sources|epochs|ese_scores)\.parquet|variability/(index\.html|candidates|notices\.json)"
    )
    for name, text in texts.items():
        outputs = re.search(r"    output:\n((?:        .*\n)+)", text)
        for path in re.findall(r'"(\w+/[^"]+)"', outputs[1]) if outputs else ():
            assert path in paths or beside.fullmatch(path), f"{name}: {path}"
