import logging
from types import SimpleNamespace

import pytest

from contimg.core.text import duration
from contimg.jobs.engine import Job, Listener, jobs_of, read_graph, table, without_banner, write_graph
from contimg.run.watch import EVERY_S, Watch


class Clock:
    """A clock that goes when it is told to."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


def night(tiles=4):
    """Jobs of a night: each tile is converted, then imaged; the first one was converted before."""
    converted = [
        Job("convert_tile", (f"ms{n}",), (), todo=n > 0, disk_mb=1000.0, runtime_min=1.0)
        for n in range(tiles)
    ]
    imaged = [
        Job("image_tile", (f"im{n}",), (f"ms{n}",), todo=True, disk_mb=500.0, runtime_min=3.0)
        for n in range(tiles)
    ]
    return [*converted, *imaged]


@pytest.fixture
def watched():
    """A watch on a night, its clock, what it says, and how often it stops the run; 10 GB are free."""
    said, stops, clock = [], [], Clock()
    watch = Watch(said.append, lambda: 10 * 10**9, lambda: stops.append(1), 8 * 10**9, clock)
    jobs = night()
    watch.planned(jobs)
    return SimpleNamespace(watch=watch, said=said, stops=stops, clock=clock, jobs=jobs)


def test_the_line_counts_what_is_there_of_what_was_planned(watched):
    watched.watch.started(watched.jobs[1:2])
    watched.clock.now += 10.0
    watched.watch.ended(watched.jobs[1])
    assert watched.watch.line().startswith("2 of 4 tiles converted, 0 of 4 tiles imaged; 10 s gone, about ")


def test_the_time_left_follows_the_rate_of_work_so_far(watched):
    # one conversion took 20 s where its rule allows 60: 2 more of those are left and 4 images of a third of 180 s
    watched.watch.started(watched.jobs[1:2])
    watched.clock.now += 20.0
    watched.watch.ended(watched.jobs[1])
    assert watched.watch.seconds_left() == pytest.approx(2 * 20.0 + 4 * 60.0)
    # two at once: the same work in half the time
    watched.watch.started(watched.jobs[2:4])
    watched.clock.now += 20.0
    for job in watched.jobs[2:4]:
        watched.watch.ended(job)
    assert watched.watch.seconds_left() == pytest.approx(4 * 60.0 * 40.0 / 60.0)


def test_it_speaks_now_and_then_and_at_the_end(watched):
    watched.said.clear()
    for job in [job for job in watched.jobs if job.todo]:
        watched.watch.started([job])
        watched.clock.now += 0.3 * EVERY_S
        watched.watch.ended(job)
    assert len(watched.said) == 2
    assert watched.said[-1].startswith("4 of 4 tiles converted, 4 of 4 tiles imaged")
    assert watched.said[-1].endswith("all jobs have ended")


def test_a_run_whose_jobs_may_fill_the_disk_is_stopped_once(watched):
    watched.watch.started(watched.jobs[1:3])  # 2 GB and 8 GB reserve: just fits
    assert watched.stops == []
    watched.watch.started(watched.jobs[3:4])
    watched.watch.started(watched.jobs[4:5])
    assert watched.stops == [1]
    assert "nearly full: 10.0 GB free" in watched.watch.stopped


def test_a_job_that_writes_nothing_is_not_stopped_by_a_full_disk():
    said, stops = [], []
    watch = Watch(said.append, lambda: 0, lambda: stops.append(1), 10**9, Clock())
    jobs = [
        Job("plan", ("page",), (), todo=True, disk_mb=0.0, runtime_min=1.0),
        Job("convert_tile", ("ms",), (), todo=True, disk_mb=1.0, runtime_min=1.0),
    ]
    watch.planned(jobs)
    watch.started(jobs[:1])
    assert stops == []
    watch.started(jobs[1:])
    assert stops == [1]


def test_the_table_tells_jobs_to_run_from_jobs_done_and_why():
    jobs = [
        Job("image_tile", ("a",), (), todo=True, reasons=("updated input files",)),
        Job("convert_tile", ("b",), (), todo=False),
    ]
    lines = table(jobs, ["convert_tile", "image_tile"])
    assert [line.split() for line in lines[1:]] == [
        ["convert_tile", "0", "1"],
        ["image_tile", "1", "0", "newer", "inputs"],
        ["total", "1", "1"],
    ]


def engine_job(name, todo):
    """A job as Snakemake has it, as far as it is looked at."""
    return SimpleNamespace(
        rule=SimpleNamespace(name=name),
        output=[f"{name}.out"],
        input=[],
        threads=2,
        resources={"mem_mb": 10, "disk_mb": 20, "runtime": 3} if todo else {},
        benchmark=f"benchmarks/{name}.tsv",
    )


class Dag:
    """A job graph as Snakemake has it: one job to run, one that is not, one target."""

    def __init__(self):
        self.jobs = [engine_job("a", True), engine_job("b", False), engine_job("all", True)]
        self.jobs[2].output = []
        self.ended = None

    def needrun(self, job):
        return bool(job.resources)

    def reason(self, job):
        return SimpleNamespace(get_names=lambda: ["forced"])

    def jobid(self, job):
        return self.jobs.index(job)

    def finished(self, job):
        return job is self.ended


def test_the_graph_is_read_from_the_engine_and_survives_a_file(tmp_path):
    jobs = jobs_of(Dag())
    assert [(job.rule, job.todo, job.disk_mb, job.reasons) for job in jobs] == [
        ("a", True, 20.0, ("forced",)),
        ("b", False, 0.0, ()),
    ]
    assert jobs_of(Dag(), resources=False)[0].disk_mb == 0.0
    write_graph(tmp_path / "graph.json", jobs)
    assert read_graph(tmp_path / "graph.json") == jobs


def record(event, **extra):
    made = logging.makeLogRecord({"msg": "", "levelno": logging.INFO, **extra})
    made.event = SimpleNamespace(name=event)
    return made


def test_the_listener_passes_on_plan_start_and_end_and_nothing_of_targets():
    planned, started, ended = [], [], []
    dag = Dag()
    listener = Listener(SimpleNamespace(dag=dag, dryrun=False), planned.extend, started.extend, ended.append)
    for event in ("WORKFLOW_STARTED", "RUN_INFO", "RUN_INFO"):
        listener.handle(record(event))
    listener.handle(record("JOB_STARTED", jobs=[0, 2]))
    assert ended == []
    assert listener.has_work
    dag.ended = dag.jobs[0]
    listener.handle(record(None))
    listener.look()
    assert [job.rule for job in planned] == ["a", "b"]
    assert [job.rule for job in started] == [job.rule for job in ended] == ["a"]


def test_the_listener_hears_that_nothing_is_to_be_done_when_the_graph_is_known():
    heard = []
    listener = Listener(
        SimpleNamespace(dag=Dag(), dryrun=False),
        heard.extend,
        heard.extend,
        heard.append,
        idle=lambda: heard.append(listener.products),
    )
    listener.handle(record(None, msg="Nothing to be done (all requested files are present and up to date)."))
    assert [getattr(entry, "rule", entry) for entry in heard] == ["a", "b", ["a.out", "b.out"]]


def test_only_the_terminal_loses_the_banner():
    logger = logging.Logger("engine")
    terminal, other = logging.NullHandler(), logging.NullHandler()
    terminal.name = "DefaultStreamHandler"
    for handler in (terminal, other):
        logger.addHandler(handler)
    without_banner(logger)
    banner, table_of_jobs = record("WORKFLOW_STARTED"), record("RUN_INFO")
    assert [bool(handler.filter(banner)) for handler in (terminal, other)] == [False, True]
    assert terminal.filter(table_of_jobs)


def test_durations_are_said_in_units_one_reads():
    said = [duration(seconds) for seconds in (36, 1800, 11160, 189000)]
    assert said == ["36 s", "30 min", "3 h 06 min", "2 d 4 h"]


def test_a_mistake_that_a_job_finds_in_the_configuration_stops_the_run():
    said, stops, wrong = [], [], []
    watch = Watch(
        said.append,
        lambda: 10**12,
        lambda: stops.append(1),
        0,
        Clock(),
        mistake=lambda: wrong[0] if wrong else None,
    )
    jobs = night()
    watch.planned(jobs)
    watch.started(jobs[:1])
    assert stops == []
    wrong.append("catalog: no column flux_jy")
    watch.started(jobs[1:2])
    watch.started(jobs[2:3])
    assert stops == [1]
    assert said[-1].startswith(
        "error: catalog: no column flux_jy; no further job starts, and nothing is rejected"
    )
