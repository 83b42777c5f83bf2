"""The matrix fault × gate: faults of scale and beam through the gates themselves, and the page made of rows."""

import pytest
from benchlib import fault_rows, faults

SEES = {
    "healthy": set(),
    "calibrator's listed flux": {"catalogue_scale"},
    "gains lose power between two tiles": {"tile_scale"},
    "second calibrator's listed flux": {"tile_scale"},
    "dish": {"beam_slope"},
    "pointing": {"pointing"},
}


@pytest.mark.parametrize("fault", faults.STRIPS, ids=lambda fault: fault.name)
def test_a_fault_of_some_per_cent_is_seen_by_the_gate_that_names_it(fault, tmp_path):
    row = fault_rows.measure(fault, tmp_path)
    gates = {words.split()[0] for words in row["seen"]} - {"note"}
    assert SEES[fault.name] <= gates
    # drifts and losses move the mean scale, too: the catalogue may see them besides; a healthy strip shows nothing
    assert gates <= SEES[fault.name] | ({"catalogue_scale", "flux_ratio"} if SEES[fault.name] else set())


def test_lists_have_the_fault_that_is_asked_for(tmp_path):
    named = {fault.name: fault for fault in faults.NIGHTS}
    shifted = named["catalogue has the calibrator elsewhere"]
    truth = shifted.options().sources
    lines = shifted.catalogue(truth).splitlines()
    assert float(lines[1].split(",")[2]) == pytest.approx(faults.CALIBRATOR.dec_deg + 6.0 / 3600.0)
    double = named["double calibrator in the lists as a point"]
    assert sum(source.flux_jy for source in double.options().sources) == pytest.approx(
        faults.CALIBRATOR.flux_jy
    )
    assert len(double.catalogue(double.options().sources).splitlines()) == 2  # one point, and its head
    for fault in faults.NIGHTS:
        assert fault.options().transit_of in {source.name for source in fault.options().sources}


def test_the_page_says_what_saw_a_fault_and_what_nothing_saw(tmp_path):
    cost = {"flux": 1.0, "scatter": 0.01, "noise_jy": 0.01, "offset_beam": 0.01, "n": 9}
    row = {"on": "raw files", "size": "as it is", "cost": cost, "seen": []}
    rows = {
        "a": {**row, "fault": "healthy"},
        "b": {
            **row,
            "fault": "one",
            "cost": {**cost, "flux": 0.9, "noise_jy": 0.02},
            "seen": ["rms 3.2", "note x"],
        },
        "c": {**row, "fault": "two"},
        "e": {
            **row,
            "fault": "four",
            "seen": [
                "note positions: corrected for +1.8 arcsec east",
                "note positions: offsets from the catalogue change by 0.2",
                *(f"note antenna {number} is off: amplitude 0.8" for number in range(4)),
            ],
        },
        "d": {**row, "fault": "three", "cost": {**cost, "flux": None}, "seen": ["calibration: no solution"]},
    }
    page = tmp_path / "qa.md"
    page.write_text(f"before\n{fault_rows.BEGIN}\nold\n{fault_rows.END}\nafter\n")
    fault_rows.render(page, rows)
    text = page.read_text()
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "old" not in text
    assert "| one | as it is | flux 0.900 (1.0 % scatter), noise × 2.00, 0.010 beam | `rms` 3.2 |" in text
    assert "| two | as it is | flux 1.000 (1.0 % scatter), noise × 1.00, 0.010 beam | **nothing** |" in text
    shown = "; ".join(["a shift of all positions", *(f"antenna {number} is off" for number in range(3))])
    assert (
        f"| four | as it is | flux 1.000 (1.0 % scatter), noise × 1.00, 0.010 beam | note: {shown}; 2 more |"
        in text
    )
    assert fault_rows._named("positions: corrected for +1.8") == "a shift of all positions"
    assert (
        fault_rows._named("positions: offsets change by 0.2; what they were corrected for is their mean")
        == "positions that are stretched"
    )
    assert "| three | as it is | all tiles | calibration: no solution … |" in text
