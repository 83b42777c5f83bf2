"""What Snakemake knows while it plans and runs, taken from its own job graph through its logger.

The library never imports Snakemake: the Snakefile hands its `workflow` and its logger over. A handler on that
logger hears when the graph is known (which jobs need to run, and why) and, later, which jobs ended. A logger
plugin would hear the same, but must be installed where Snakemake is; the clone alone is enough for this.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from contimg.core.errors import ContimgError, SystemFault
from contimg.core.products import read_json, write_json

GRAPH_VARIABLE = "CONTIMG_GRAPH"
"""Names the file that a dry run writes its job graph to."""


@dataclass(frozen=True)
class Job:
    """A job of the graph: what it reads and makes, what it may use, and why it runs.

    Attributes
    ----------
    rule : str
    output, input : tuple of str
        Paths as the rule states them: products relative to the products tree.
    todo : bool
        Whether the run will do it; False: its products are there and up to date.
    reasons : tuple of str
        Snakemake's names for why, none if it is not to run.
    threads : int
    mem_mb, disk_mb, runtime_min : float
        What its rule allows it at the first attempt, 0 where it says nothing.
    benchmark : str
        Path of the table of what it cost.
    partition, account : str
        Of SLURM, empty where the cluster chooses or there is none.
    """

    rule: str
    output: tuple[str, ...]
    input: tuple[str, ...]
    todo: bool
    reasons: tuple[str, ...] = ()
    threads: int = 1
    mem_mb: float = 0.0
    disk_mb: float = 0.0
    runtime_min: float = 0.0
    benchmark: str = ""
    partition: str = ""
    account: str = ""

    @property
    def product(self) -> str:
        """The first of its outputs, which names it."""
        return self.output[0]


def jobs_of(dag: Any, *, resources: bool = True) -> list[Job]:
    """List the jobs of Snakemake's graph that make something; targets, which only gather, are no jobs.

    Parameters
    ----------
    dag : object
        Snakemake's graph.
    resources : bool
        Whether to ask what each job may use: a dry run that only counts jobs is a sixth faster without.
    """
    found = []
    for job in dag.jobs:
        if not job.output:
            continue
        todo = bool(dag.needrun(job))
        allowed = job.resources if todo and resources else {}
        found.append(
            Job(
                rule=job.rule.name,
                output=tuple(map(str, job.output)),
                input=tuple(map(str, job.input)),
                todo=todo,
                reasons=tuple(dag.reason(job).get_names()) if todo else (),
                threads=int(job.threads) if allowed else 1,
                benchmark=str(job.benchmark or ""),
                partition=str(allowed.get("slurm_partition") or ""),
                account=str(allowed.get("slurm_account") or ""),
                **{
                    field: float(allowed.get(name, 0) or 0)
                    for field, name in (
                        ("mem_mb", "mem_mb"),
                        ("disk_mb", "disk_mb"),
                        ("runtime_min", "runtime"),
                    )
                },
            )
        )
    return sorted(found, key=lambda entry: (entry.rule, entry.output))


def write_graph(path: Path, jobs: Sequence[Job]) -> None:
    """Write a job graph for `read_graph`."""
    write_json(path, [asdict(job) for job in jobs])


def read_graph(path: Path) -> list[Job]:
    """Read what `write_graph` wrote."""
    lists = ("output", "input", "reasons")
    return [Job(**{**entry, **{name: tuple(entry[name]) for name in lists}}) for entry in read_json(path)]


def table(jobs: Iterable[Job], order: Sequence[str] = ()) -> list[str]:
    """Lines of a table, one for each rule: jobs to run, jobs done before, and why they run.

    Parameters
    ----------
    jobs : iterable of Job
    order : sequence of str
        Rules in the order data flow; others follow by name.
    """
    counts: dict[str, tuple[list[int], dict[str, int]]] = {}
    for job in jobs:
        (numbers, reasons) = counts.setdefault(job.rule, ([0, 0], {}))
        numbers[not job.todo] += 1
        for reason in job.reasons:
            reasons[reason] = reasons.get(reason, 0) + 1
    place = {rule: number for number, rule in enumerate(order)}
    rules = sorted(counts, key=lambda rule: (place.get(rule, len(place)), rule))
    width = max([len(rule) for rule in rules] + [len("total")])
    line = f"{{:<{width}}} {{:>7}} {{:>7}}   {{}}"
    lines = [line.format("job", "to run", "done", "why").rstrip()]
    for rule in rules:
        (todo, done), reasons = counts[rule]
        why = ", ".join(
            REASONS.get(reason, reason) + (f" ({count})" if count != todo else "")
            for reason, count in sorted(reasons.items(), key=lambda item: -item[1])
        )
        lines.append(line.format(rule, todo, done, why).rstrip())
    sums = [sum(numbers[place] for numbers, _ in counts.values()) for place in (0, 1)]
    lines.append(line.format("total", *sums, "").rstrip())
    return lines


# Snakemake's reasons in an astronomer's words; what is not here is said as Snakemake says it.
REASONS = {
    "output files have to be generated": "not there",
    "input files updated by another job": "its inputs are made",
    "updated input files": "newer inputs",
    "set of input files has changed since last execution": "other inputs",
    "params have changed since last execution": "other settings",
    "code has changed since last execution": "other code",
    "incomplete output files": "was interrupted",
    "software environment definition has changed since last execution": "other software",
}


class Listener(logging.Handler):
    """Hears Snakemake's log events and tells what matters to a run.

    Snakemake says which jobs start, but not, on a quiet terminal, which have ended: whenever it says
    anything, the jobs that run are looked up in its graph.

    Parameters
    ----------
    workflow : object
        Snakemake's workflow, whose `dag` is complete when the first event comes.
    planned : callable
        Called once with all jobs, before the first one starts (in a dry run too).
    started : callable
        Called with the jobs that are about to start, in the thread and at the point where Snakemake takes a
        SIGTERM as the wish to end when the running jobs have.
    ended : callable
        Called with a job when it has succeeded.
    detailed : bool
        Whether a dry run too is to tell what each job may use.
    idle : callable
        Called if nothing is to be done: Snakemake then calls neither `onstart` nor `onsuccess`. It may end the process.
    """

    def __init__(
        self,
        workflow: Any,
        planned: Callable[[list[Job]], None],
        started: Callable[[list[Job]], None],
        ended: Callable[[Job], None],
        *,
        detailed: bool = False,
        idle: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__(logging.INFO)
        self._detailed, self._idle = detailed, idle
        self._workflow = workflow
        self._planned, self._started, self._ended = planned, started, ended
        self._jobs: dict[int, tuple[Any, Job]] | None = None
        self._running: dict[int, tuple[Any, Job]] = {}

    def emit(self, record: logging.LogRecord) -> None:
        """Take one event; an error here is the logger's to report, it never ends the run."""
        event = _event(record)
        nothing = record.msg.startswith("Nothing to be done") if isinstance(record.msg, str) else False
        try:
            self.look()
            if (event == "RUN_INFO" or nothing) and self._jobs is None:
                self._plan()
                if nothing:
                    self._idle()
            elif event == "JOB_STARTED":
                self._start(getattr(record, "jobs", None) or ())
        except (ContimgError, OSError, ValueError):
            self.handleError(record)

    @property
    def products(self) -> list[str]:
        """What the run was asked for and all that it is made of: the outputs of its jobs, made before or now."""
        return [path for _, job in (self._jobs or {}).values() for path in job.output]

    @property
    def has_work(self) -> bool:
        """Whether the run makes anything: a run of targets that only say something, such as `plan`, does not."""
        return any(job.todo for _, job in (self._jobs or {}).values())

    def look(self) -> None:
        """See which of the running jobs have succeeded."""
        for number, (theirs, job) in list(self._running.items()):
            if self._workflow.dag.finished(theirs):
                del self._running[number]
                self._ended(job)

    def _plan(self) -> None:
        dag = self._workflow.dag
        wanted = self._detailed or GRAPH_VARIABLE in os.environ or not self._workflow.dryrun
        jobs = jobs_of(dag, resources=wanted)
        by_output = {job.output: job for job in jobs}
        self._jobs = {
            dag.jobid(job): (job, by_output[tuple(map(str, job.output))]) for job in dag.jobs if job.output
        }
        if GRAPH_VARIABLE in os.environ:
            write_graph(Path(os.environ[GRAPH_VARIABLE]), jobs)
        self._planned(jobs)

    def _start(self, numbers: Iterable[int]) -> None:
        jobs = self._jobs or {}
        starting = {number: jobs[number] for number in numbers if number in jobs}
        self._running |= starting
        self._started([job for _, job in starting.values()])


def without_banner(logger: logging.Logger) -> None:
    """Keep Snakemake's banner of versions and paths off the terminal; loggers of other kinds still get it.

    `--quiet host` would do the same, but beside `--quiet rules progress` it makes a dry run walk through all jobs
    only to print nothing.
    """
    for handler in logger.handlers:
        if handler.name == "DefaultStreamHandler":
            handler.addFilter(lambda record: _event(record) != "WORKFLOW_STARTED")


def _event(record: logging.LogRecord) -> str:
    return str(getattr(getattr(record, "event", None), "name", ""))


def dry_run(
    clone: Path, configfile: Path, targets: Sequence[str], *, python: str, folder: Path, cores: int
) -> list[Job]:
    """Ask Snakemake which jobs a run would do: `snakemake -n` in a process of its own.

    Parameters
    ----------
    clone : Path
        Directory of the Snakefile.
    configfile : Path
        The configuration, complete, with absolute paths.
    targets : sequence of str
        As on Snakemake's command line.
    python : str
        Interpreter that Snakemake is installed in.
    folder : Path
        Working space for the graph.
    cores : int
        That the run would have: its jobs' threads follow from them.

    Returns
    -------
    list of Job

    Raises
    ------
    SystemFault
        Snakemake could not plan: its message is passed on.
    """
    import subprocess

    graph = folder / "graph.json"
    command = [
        python,
        "-m",
        "snakemake",
        "-n",
        "--cores",
        str(cores),
        "--quiet",
        "rules",
        "progress",
        "--snakefile",
    ]
    command += [str(clone / "Snakefile"), "--configfile", str(configfile), "--", *targets]
    done = subprocess.run(
        command,
        cwd=clone,
        env={**os.environ, GRAPH_VARIABLE: str(graph)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode or not graph.is_file():
        said = [line for line in done.stdout.splitlines() if line.strip()]
        raise SystemFault(
            f"`snakemake -n {' '.join(targets)}` ended with {done.returncode}: " + " | ".join(said[-4:])
        )
    return read_graph(graph)
