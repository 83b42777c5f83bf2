import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from builders.tiles import strip_of_tiles
from contimg.config.model import Config
from contimg.config.slurm import SlurmOptions
from contimg.core.products import status, write_json
from contimg.core.rules import BY_NAME, RULES
from contimg.index.tile import Index, LeftOut
from contimg.jobs.engine import Job
from contimg.night.night import arrange
from contimg.plan import costs
from contimg.plan import facts as plan
from contimg.plan.costs import Sample
from contimg.plan.machines import count_cores, machines
from contimg.plan.page import page
from contimg.plan.schedule import Machine, wall_seconds
from contimg.plan.timeline import timeline
from contimg.sky.calibrators import Calibrator

SOURCE = Calibrator("0834+555", 128.7287, 55.5725, 8.8, -0.4, "test")


def machine(cores, jobs=100, overhead_s=0.0):
    return Machine("test", cores, jobs, overhead_s, "test")


def chain(length, threads=1):
    """Jobs of which each needs the one before."""
    return [
        Job("link", (f"{n}",), (f"{n - 1}",) if n else (), todo=True, threads=threads) for n in range(length)
    ]


def independent(count, threads=1):
    return [Job("one", (f"{n}",), (), todo=True, threads=threads) for n in range(count)]


def test_a_chain_takes_the_sum_of_its_jobs_on_any_machine():
    jobs = chain(5)
    seconds = {job.product: 10.0 for job in jobs}
    assert wall_seconds(jobs, seconds, machine(1)) == pytest.approx(50.0)
    assert wall_seconds(jobs, seconds, machine(64, overhead_s=2.0)) == pytest.approx(60.0)


def test_independent_jobs_share_cores_and_the_limit_of_jobs():
    jobs = independent(8, threads=2)
    seconds = {job.product: 10.0 for job in jobs}
    assert wall_seconds(jobs, seconds, machine(4)) == pytest.approx(40.0)
    assert wall_seconds(jobs, seconds, machine(16)) == pytest.approx(10.0)
    assert wall_seconds(jobs, seconds, machine(16, jobs=2)) == pytest.approx(40.0)
    # more threads than there are cores: the engine gives it what there is
    assert wall_seconds(independent(2, threads=8), seconds, machine(2)) == pytest.approx(20.0)


def test_what_others_wait_for_goes_first():
    # three conversions of 10 s and a transit of 30 s that the images wait for: all that time both cores are busy
    jobs = [Job("convert_tile", (f"{n}",), (), todo=True, threads=1) for n in range(3)]
    jobs += [Job("calibrate_transit", ("cal",), (), todo=True, threads=1)]
    jobs += [Job("image_tile", (f"image{n}",), (f"{n}", "cal"), todo=True, threads=1) for n in range(2)]
    seconds = {job.product: 30.0 if job.product == "cal" else 10.0 for job in jobs}
    assert wall_seconds(jobs, seconds, machine(2)) == pytest.approx(40.0)


def test_a_machine_may_give_a_job_fewer_threads_than_its_rule():
    jobs = independent(4, threads=2)
    seconds = {job.product: 10.0 for job in jobs}
    assert wall_seconds(jobs, seconds, machine(2)) == pytest.approx(40.0)
    assert wall_seconds(jobs, seconds, replace(machine(2), threads=1)) == pytest.approx(20.0)


def test_one_thread_takes_no_less_than_the_processor_time():
    cost = costs.Cost(10.0, 8.0, 20.0, 14.0, "test")
    assert cost.alone() == costs.Cost(14.0, 11.2, 28.0, 14.0, "test")
    assert costs.Cost(20.0, 18.0, 25.0, 14.0, "test").alone().seconds == 20.0  # it waited, for files perhaps


def test_what_is_done_takes_no_time_and_holds_nothing_up():
    first, second = chain(2)
    jobs = [replace(first, todo=False), second]
    assert wall_seconds(jobs, {second.product: 3.0}, machine(1)) == pytest.approx(3.0)


def test_costs_are_medians_of_past_jobs_brought_to_size_with_their_scatter():
    samples = {"mosaic_window": [Sample(seconds, 2 * seconds, 2.0) for seconds in (20.0, 40.0, 80.0)]}
    cost = costs.unit_costs(samples, ["mosaic_window"])["mosaic_window"].times(3.0)
    assert cost.seconds == pytest.approx(60.0)
    assert cost.core_seconds == pytest.approx(120.0)
    assert 30.0 < cost.low_s < 60.0 < cost.high_s < 120.0
    assert cost.origin == "3 past jobs"


def test_without_past_jobs_a_full_tile_costs_what_was_measured_of_one():
    units = costs.job_units("images/d/2025-10-30T13:00:00", 3, {"2025-10-30T13:00:00": 2_310_000_000})
    cost = costs.unit_costs({}, ["image_tile"])["image_tile"].times(units)
    assert cost.seconds == pytest.approx(BY_NAME["image_tile"].full_tile_s)
    assert cost.seconds < cost.core_seconds < 2 * cost.seconds  # of two cores it keeps more than one busy
    assert "default" in cost.origin
    assert "assumed" in costs.unit_costs({}, ["a_new_rule"])["a_new_rule"].origin


def test_a_small_tile_costs_what_any_takes_and_past_jobs_of_its_size_are_met():
    # a tile of 28 MB took 16 to 21 processor seconds to image (the demo's night); in proportion to a full one, 1.3 s
    small = costs.unit_costs({}, ["image_tile"])["image_tile"].times(0.028)
    assert 12.0 < small.seconds < 21.0
    for past in (10.0, 60.0):  # a faster machine, a slower one
        samples = {"image_tile": [Sample(past, past, 0.028)] * 3}
        assert costs.unit_costs(samples, ["image_tile"])["image_tile"].times(0.028).seconds == pytest.approx(
            past
        )
    full = costs.unit_costs({"image_tile": [Sample(107.0, 150.0, 2.31)]}, ["image_tile"])["image_tile"]
    assert full.times(2.31).seconds == pytest.approx(107.0)
    assert full.times(0.028).seconds == pytest.approx(15.0 + 92.0 * 0.028 / 2.31)


def test_without_products_a_tiles_job_writes_what_one_was_seen_to_and_another_what_it_promises(tmp_path):
    tile = "2025-10-30T13:00:00"
    jobs = [
        Job(rule, (f"{where}/2025-10-30/{tile}",), (), True, disk_mb=5000.0)
        for rule, where in (("convert_tile", "ms"), ("image_tile", "images"), ("mosaic_window", "mosaics"))
    ]
    each = costs.bytes_per_unit(tmp_path, jobs, {tile: 2 * 10**9})
    units = {job.rule: costs.job_units(job.product, 0, {tile: 2 * 10**9}) for job in jobs}
    written = {rule: each[rule][0] * units[rule] for rule in units}
    assert written == pytest.approx({"convert_tile": 1.22e9, "image_tile": 0.17e9, "mosaic_window": 5e9})
    assert "default" in each["image_tile"][1]
    assert "at most" in each["mosaic_window"][1]


def test_every_rule_that_works_on_a_tile_or_a_mosaic_has_a_measured_default():
    rules = {path.stem for path in (Path(__file__).parents[3] / "scripts").glob("*_*.py")}
    cheap = {"beam_measure", "build_registry", "list_published", "publish_mosaic"}  # a second for each input
    measured = {rule.name for rule in RULES if rule.full_tile_s is not None or rule.input_s is not None}
    assert rules - cheap == measured - {"mosaic_transit"}


def test_benchmarks_are_read_with_the_size_of_their_tile_and_broken_ones_left_out(tmp_path):
    tile = "2025-10-30T13:00:00"
    folder = tmp_path / "benchmarks" / "convert_tile" / "2025-10-30"
    folder.mkdir(parents=True)
    (folder / f"{tile}.tsv").write_text("s\tmax_rss\tcpu_time\n12.5\t800\t20.0\n")
    (folder / "2025-10-30T13:05:09.tsv").write_text("s\tmax_rss")
    found = costs.read_benchmarks(tmp_path, [], {tile: 2_000_000_000})
    assert found == {"convert_tile": [Sample(12.5, 20.0, 2.0)]}


def test_the_cores_of_a_cluster_are_those_of_its_nodes_that_work():
    assert count_cores("node1 4/28/0/32\nnode1 4/28/0/32\nnode2 0/0/32/32\n") == 32
    assert count_cores("slurm_load_partitions: error\n") is None


def test_the_cluster_has_the_cores_that_sinfo_reports_for_the_partition_else_those_of_its_jobs(monkeypatch):
    site = SlurmOptions(partition="night", max_jobs=30)
    monkeypatch.setattr("contimg.plan.machines.sinfo_cores", {"night": 64}.get)
    assert [(entry.cores, entry.jobs) for entry in machines(2, site, "auto")] == [(2, 2), (64, 30)]
    for threads, each in (("auto", 1), (2, 2)):
        here, there = machines(2, SlurmOptions(max_jobs=30), threads)
        assert (here.cores, there.cores, there.threads) == (2, 30 * each, each)


@pytest.fixture
def facts(tmp_path):
    """A plan of two strips: one tile done, one rejected, one group left out."""
    tiles = strip_of_tiles(count=10)
    other = strip_of_tiles(count=3, dec_deg=37.0, start="2025-10-30T18:00:00")
    config = Config.model_validate({"products": str(tmp_path), "start": "2025-10-30", "end": "2025-10-31"})
    lost = LeftOut("2025-10-30T17:00:00", "15 of 16 subbands: missing sb03", ())
    night = arrange(config, Index(tuple(tiles + other), (lost,)), [SOURCE])
    for number, reason in ((0, None), (1, "all flagged")):
        write_json(tmp_path / f"images/2025-10-30/{tiles[number].name}/status.json", status(reason))
    jobs = [
        Job("image_tile", (f"images/2025-10-30/{tile.name}",), tile.files, number > 1, disk_mb=1000.0)
        for number, tile in enumerate(tiles + other)
    ]
    return plan.gather(config, night, jobs, cores=2) | {"target": "all"}


def test_a_plan_says_what_becomes_of_every_tile(facts):
    assert facts["name"] == "2025-10-30_2025-10-31"
    assert [row["image"] for row in facts["tiles"][:3]] == ["ok", "rejected", "to make"]
    assert facts["left_out"][0]["reason"].startswith("15 of 16")
    assert [(change["from"], change["to"]) for change in facts["strip_changes"]] == [("+55", "+37")]
    assert facts["tiles"][0]["caltables"] == [facts["transits"][0]["tables"]]
    assert facts["transits"][0]["tiles"] == 10  # its own strip only
    assert facts["cost"]["stages"]["image_tile"]["to_run"] == 11


def test_bytes_are_counted_and_a_disk_that_will_not_hold_them_is_an_obstacle(facts, tmp_path):
    # each tile of the strips is 1 GB of one raw file; what the two images that are there hold sets the size of others
    assert facts["disk"]["reads_bytes"] == 11 * 10**9
    assert facts["feasible"]
    config = Config.model_validate({"products": str(tmp_path), "disk_reserve_gb": 1e9})
    tile = strip_of_tiles(count=1)[0]
    night = arrange(config, Index((tile,), ()), [SOURCE])
    jobs = [Job("image_tile", (f"images/2025-10-30/{tile.name}",), tile.files, True, disk_mb=1000.0)]
    full = plan.gather(config, night, [replace(jobs[0], output=("elsewhere",))], cores=2)
    assert not full["feasible"]
    assert "disk_reserve_gb" in full["obstacles"][0]
    assert "NOT FEASIBLE" in plan.summary(full)[-1]


@pytest.mark.parametrize(
    ("to_run", "said"),
    [
        ({"image_tile": 2, "mosaic": 0, "lightcurves": 1}, "3 to run (2 image_tile, 1 lightcurves), 4 done"),
        ({"a": 1, "b": 1, "c": 1, "d": 1}, "4 to run, 4 done"),
        ({"a": 0}, "0 to run, 4 done"),
    ],
)
def test_the_summary_names_the_rules_of_jobs_to_run_where_they_are_few(facts, to_run, said):
    stages = {rule: {"to_run": n, "done": 0} for rule, n in to_run.items()}
    stages["index"] = {"to_run": 0, "done": 4}
    cost = {**facts["cost"], "stages": stages}
    assert f"jobs: {said}; " in "\n".join(plan.summary({**facts, "cost": cost}))


def test_a_plan_names_the_imager_with_its_version(facts, tmp_path):
    (line,) = (line for line in plan.summary(facts) if line.startswith("imager: "))
    assert re.fullmatch(r"imager: ducc0 \d[\d.]*, radler \d[\d.]*", line)
    parts = Config.model_validate({"products": str(tmp_path), "imaging": {"channels_out": 4}})
    assert plan.imager_of(parts)["backend"] in ("wsclean", "tclean")


def test_the_page_needs_no_other_file_and_fits_a_telephone(facts):
    text = page(json.loads(json.dumps(facts)))
    assert 'name="viewport"' in text
    assert not re.search(r"(src|url)\s*[=(]", text)
    assert set(re.findall(r'href="(\.\./)?', text)) == {"../"}  # links lead into the tree
    assert "missing sb03" in text
    assert "0834+555" in text


def test_the_timeline_has_a_bar_for_every_tile_and_mosaic(facts):
    drawn = timeline(facts)
    bars = len(facts["tiles"]) + len(facts["left_out"]) + len(facts["mosaics"])
    assert drawn.count("<rect") == bars
    assert drawn.count("<path") == len(facts["transits"])
    assert timeline({**facts, "tiles": [], "left_out": []}) == ""


def test_a_plan_of_tiles_that_nothing_calibrates_is_not_feasible_and_names_the_nearest_calibrators(tmp_path):
    # one that crosses another part of the same strip's sky, one that passes far from the beam
    other = Calibrator("0204+556", 31.0, 55.6, 9.0, -0.4, "test")
    far = Calibrator("3C286", 202.78, 30.51, 14.9, -0.4, "test")
    listed = tmp_path / "calibrators.csv"
    rows = [f"{c.name},{c.ra_deg},{c.dec_deg},{c.flux_jy},{c.spectral_index},test" for c in (far, other)]
    listed.write_text("\n".join(["name,ra_deg,dec_deg,flux_jy,spectral_index,origin", *rows]) + "\n")
    config = Config.model_validate({"products": str(tmp_path), "calibrators": str(listed)})
    night = arrange(config, Index(tuple(strip_of_tiles(count=3)), ()), [other, far])
    facts = plan.gather(config, night, [], cores=2) | {"target": "all"}
    assert not facts["feasible"]
    (said,) = facts["obstacles"]
    assert said.startswith("3 of 3 tiles cannot be calibrated")
    assert said.index("0204+556 transits") < said.index("3C286 passes 24.")
    assert 'class="verdict no"' in page(facts)


def test_a_plan_in_which_some_tiles_cannot_be_calibrated_says_so_and_is_amber(facts):
    assert facts["feasible"]  # the second strip has no calibrator
    (warning,) = facts["warnings"]
    assert warning.startswith("3 of 13 tiles cannot be calibrated")
    assert f"WARNING: {warning}" in plan.summary(facts)
    assert 'class="verdict part"' in page(facts)
    assert 'class="verdict yes"' not in page(facts)


def test_a_range_without_data_says_which_dates_have_some(tmp_path):
    for date in ("2025-10-28", "2025-10-30"):
        (tmp_path / "raw" / date).mkdir(parents=True)
        (tmp_path / "raw" / date / f"{date}T13:00:00_sb00.hdf5").touch()
    values = {
        "incoming": str(tmp_path / "raw"),
        "products": str(tmp_path / "products"),
        "start": "2025-11-05",
    }
    config = Config.model_validate(values)
    (tmp_path / "products").mkdir()
    facts = plan.gather(config, arrange(config, Index((), ()), [SOURCE]), [], cores=2)
    assert not facts["feasible"]
    assert facts["obstacles"][-1].endswith("has data of 2 dates: 2025-10-28, 2025-10-30")
