"""What the service answers. Fluxes in Jy, positions ICRS in degrees, times UTC."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from contimg.api.base import Answer, BatchState, Instant, Kind, State


class Message(Answer):
    """A sentence for people."""

    message: str
    batch_id: int | None = None


class Problem(Answer):
    """Why a request was not served."""

    detail: str | list[dict[str, Any]]


class Item(Answer):
    """One product, or a few, that a batch was asked for."""

    ms_path: str
    job_id: int
    status: State
    error: str | None = None
    started_at: Instant | None = None
    completed_at: Instant | None = None
    products: list[str] = []
    log_lines: list[str] = []


class Batch(Answer):
    """A batch: what was asked for and how far it is."""

    id: int
    type: str
    status: BatchState
    total_items: int
    completed_items: int
    failed_items: int
    created_at: Instant
    params: dict[str, Any]
    items: list[Item]
    ignored: dict[str, str] = {}
    branch: str | None = None
    note: str | None = None
    submitted_by: str | None = None

    @property
    def kind(self) -> str:
        """`image` of `batch_image`."""
        return self.type.removeprefix("batch_")


class BatchList(Answer):
    """Batches, newest first."""

    items: list[Batch]
    total: int


class DryRun(Answer):
    """What a batch would do: nothing of it is kept."""

    dry_run: Literal[True] = True
    type: str
    items: list[dict[str, Any]]
    ignored: dict[str, str] = {}
    changed: dict[str, Any] = {}
    jobs: dict[str, int] = {}
    core_hours: float | None = None
    wall_hours: float | None = None
    writes_bytes: int | None = None
    free_bytes: int | None = None
    feasible: bool = True
    obstacles: list[str] = []


class MosaicJob(Answer):
    """Answer of `POST /api/mosaics/create`."""

    job_id: int
    group_id: str
    status: str
    message: str


class Queue(Answer):
    """Groups of files by what became of them."""

    total: int = 0
    pending: int = 0
    in_progress: int = 0
    failed: int = 0
    completed: int = 0
    collecting: int = 0


class Group(Answer):
    """A group of subband files: a tile, or what will be one."""

    group_id: str
    state: str
    received_at: Instant
    last_update: Instant
    subbands_present: int
    expected_subbands: int
    has_calibrator: bool
    matches: list[str] | None = None


class CalibrationSet(Answer):
    """The caltables of a transit."""

    set_name: str
    tables: list[str]
    active: int
    total: int


class Disk(Answer):
    """Room where the products are, GB (1e9 bytes)."""

    free_gb: float
    total_gb: float


class RegistryAge(Answer):
    """How old the registry is that an answer was read from."""

    built_at: Instant | None
    age_s: float | None


class Health(Answer):
    """Whether the service can do its work."""

    status: Literal["healthy", "degraded"]
    timestamp: Instant
    databases: dict[str, str]
    disk: Disk
    version: str


class Status(Answer):
    """The state of the whole."""

    queue: Queue
    recent_groups: list[Group]
    calibration_sets: list[CalibrationSet]
    matched_recent: int
    catalog_coverage: dict[str, Any] | None = None
    versions: dict[str, str]
    disk: Disk
    night: dict[str, Any]
    health: str
    registry: RegistryAge
    damage: list[str] = []


class Rows(Answer):
    """Rows of a registry, with its age."""

    items: list[dict[str, Any]]
    total: int
    registry: RegistryAge


class Candidate(Answer):
    """A source whose light curve may show an extreme scattering event."""

    id: int
    source_id: str
    ra_deg: float | None
    dec_deg: float | None
    first_detection_at: Instant | None
    last_detection_at: Instant | None
    max_sigma_dev: float | None
    current_flux_jy: float | None
    baseline_flux_jy: float | None
    status: Literal["active", "investigated", "dismissed"]
    notes: str | None = None


class Candidates(Answer):
    """Candidates, the most significant first."""

    candidates: list[Candidate]
    total: int


class FluxPoint(Answer):
    """One flux of a light curve."""

    mjd: float
    time: Instant
    flux_jy: float | None
    flux_err_jy: float | None
    image_id: str


class LightCurve(Answer):
    """A source's fluxes, and those with what all sources of an epoch share taken out."""

    source_id: str
    ra_deg: float | None
    dec_deg: float | None
    flux_points: list[FluxPoint]
    normalized_flux_points: list[FluxPoint]


class Variability(Answer):
    """Measures of a source's variability; `measures` holds all of its row."""

    source_id: str
    v: float | None
    eta: float | None
    vs_mean: float | None
    m_mean: float | None
    n_epochs: int
    measures: dict[str, float | int | str | None] = {}


class Source(Answer):
    """A source of the light curves' table."""

    source_id: str
    name: str
    ra_deg: float
    dec_deg: float
    n_epochs: int | None = None
    mean_flux_jy: float | None = None
    eta: float | None = None
    v: float | None = None
    separation_deg: float | None = None


class Sources(Answer):
    """Sources, the nearest first where a position was given."""

    sources: list[Source]
    total: int


class Plans(Answer):
    """Plans that were made: `plan/….json` of the products tree."""

    plans: list[str]


class Session(Answer):
    """A browser's session: its cookie comes beside, and cannot be read by a page."""

    role: Literal["read", "run", "publish"]
    csrf_token: str
    expires_at: Instant


class Event(Answer):
    """One line of what a logger plugin of a run has written."""

    event: str
    time: float
    jobs: list[int] = []
    job: int | None = None
    rule: str | None = None
    output: list[str] = Field(default_factory=list)
    log: list[str] = Field(default_factory=list)
    message: str | None = None
    done: int | None = None
    total: int | None = None


class Kinds(Answer):
    """Which kinds of batches this workflow can do, and why not the others."""

    kinds: dict[Kind, str | None]
