"""The benchmark's own arithmetic: costs of known work, tables of known rows, and what the README quotes."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from benchlib import report
from benchlib.cost import Cost, measure
from benchlib.tasks import BENCHMARKS, copy_with_sync

ROOT = Path(__file__).parents[3]
OURS = report.Row(
    "convert", "contimg", "contimg", 10.0, 18.0, 0.7, 2.3, 1.4, main=True, date="2025-10-30T13:00"
)
RIVAL = replace(OURS, what="another tool", kind="rival", seconds=55.0, peak_gb=6.6)
FOUND = {
    "date": "2025-10-30T13:00",
    "machine": {
        "cpu": "AMD EPYC 7R13 Processor",
        "cores": 2,
        "memory_gb": 25.2,
        "system": "Linux",
        "load_before": 0.1,
    },
    "threads": 2,
    "tile": "one tile",
    "versions": {"python": "3.11"},
    "rows": [],
}


def python(code, tmp_path, **options):
    return measure([sys.executable, "-B", "-c", code], cwd=tmp_path, threads=1, **options)


def test_bytes_memory_and_the_last_line_of_a_command_and_its_children_are_known(tmp_path):
    work = "open('out', 'wb').write(bytearray(200_000_000)[:5_000_000])"
    code = (
        f"import subprocess, sys; subprocess.run([sys.executable, '-c', {work!r}], check=True); "
        "print('other'); print('{\"note\": \"done\"}')"
    )
    cost = python(code, tmp_path)
    assert cost.error == ""
    assert cost.said == {"note": "done"}
    # 5 MB by the child; a few lines besides. 200 MB of it resident, and Python itself less than 50.
    assert cost.written_gb == pytest.approx(0.005, abs=1e-5)
    assert 0.2 < cost.peak_gb < 0.25
    assert cost.cpu_s > 0
    assert (tmp_path / "out").stat().st_size == 5_000_000


def test_a_command_that_fails_or_hangs_is_told_of_and_nothing_is_raised(tmp_path):
    failed = python("raise SystemExit('no such file')", tmp_path)
    assert failed.error == "exit status 1: no such file"
    late = python("import time; time.sleep(600)", tmp_path, timeout_s=1.0)
    assert late.error == "not done after 1 s"


def test_a_copy_is_complete(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    said = copy_with_sync([str(tmp_path / "a")], str(tmp_path / "out"))
    assert (tmp_path / "out" / "a").read_bytes() == b"abc"
    assert said == {"note": "0.00 GB"}


def test_a_table_compares_with_our_main_row_and_names_what_failed():
    failed = replace(RIVAL, what="a third", error="exit status 1:\n no | memory")
    lines = report.table([replace(OURS, what="slower", seconds=20.0, main=False), OURS, RIVAL, failed])[2:]
    assert [line.split("|")[7].strip() for line in lines[:3]] == ["2.00 ×", "1.00 ×", "5.50 ×"]
    assert lines[3] == "| rival: a third | failed | | | | | | exit status 1: no / memory |"


def test_a_run_of_one_stage_keeps_the_other_stages_and_the_rivals_that_were_not_run():
    mosaic = replace(OURS, stage="mosaic")
    other = replace(OURS, what="contimg, without")
    again = replace(OURS, seconds=9.0)
    assert report.merge([OURS, other, RIVAL, mosaic], [again]) == [again, RIVAL, mosaic]


def test_what_is_written_is_read_again_and_the_newest_wins(tmp_path):
    assert report.newest(tmp_path) is None
    for date in ("2025-10-30T13:00", "2025-11-02T01:00"):
        made = report.row("convert", "contimg", report.OURS, Cost(seconds=1.0), main=True)
        page = report.write({**FOUND, "date": date, "rows": [vars(made)]}, tmp_path)
    assert page.name == "2025-11-02-amd-epyc-7r13-2-cores.md"
    (tmp_path / "another.json").write_text('{"date": "2031-01-01"}')  # of a benchmark of its own
    assert "| contimg | 1.0 |" in page.read_text()
    newest = report.newest(tmp_path)
    assert newest["date"] == "2025-11-02T01:00"
    assert report.rows_of(newest)[0].seconds == 1.0


def test_rivals_of_another_day_stay_with_their_date_and_what_is_ours_does_not(tmp_path):
    mosaic = replace(OURS, stage="mosaic", what="contimg mosaic")
    first = {**FOUND, "rows": [vars(OURS), vars(RIVAL), vars(mosaic)]}
    report.write(first, tmp_path)
    again = replace(OURS, seconds=8.0, date="2025-11-02T01:00")
    report.write({**FOUND, "date": "2025-11-02T01:00", "rows": [vars(again)]}, tmp_path)
    newest = report.newest(tmp_path)
    assert report.rows_of(newest) == [again, RIVAL]
    assert "another tool 55 s (18 s CPU, 6.6 GB) on 2025-10-30" in "\n".join(report.readme(newest))


def test_a_quote_replaces_what_stood_between_its_marks():
    first, last = report.MARKS
    assert (
        report.quote(f"head\n{first}\nold\n{last}\ntail\n", ["new"]) == f"head\n{first}\nnew\n{last}\ntail\n"
    )
    with pytest.raises(ValueError, match="expected the marks"):
        report.quote("nothing", ["new"])


def test_the_readme_quotes_the_newest_result():
    text = (ROOT / "README.md").read_text()
    newest = report.newest(ROOT / "benchmarks" / "results")
    assert newest is not None
    assert report.quote(text, report.readme(newest)) == text, "run benchmarks/bench.py --readme"


def test_a_task_in_a_process_of_its_own_comes_to_the_raw_file(tmp_path):
    script = BENCHMARKS / "benchlib" / "tasks.py"
    asked = {
        "files": [str(tmp_path / "none.hdf5")],
        "ra_rad": 0.0,
        "dec_rad": 0.0,
        "out": str(tmp_path / "out.ms"),
    }
    words = [sys.executable, str(script), "pyuvdata", json.dumps(asked)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "none.hdf5" in done.stderr.splitlines()[-1]
