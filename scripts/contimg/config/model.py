"""The configuration: what to process, where it lies, and a section of options for each stage.

This typed model, with the sections in `contimg.core.options`, is the one source of the defaults, of
`config/config.yaml`, of `config/config.schema.json` and of `docs/configuration.md` (`contimg.config.docs`
renders them). `load` makes it from what Snakemake or the command line read.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from contimg.calibrate.options import CalibrationOptions
from contimg.config.notify import NotifyOptions
from contimg.config.retention import RegistryOptions, RetentionOptions
from contimg.config.service import ServiceOptions
from contimg.config.slurm import SlurmOptions
from contimg.convert.options import FlaggingOptions
from contimg.core import values
from contimg.core.options import NUMBER, Name, Options, Place, key
from contimg.core.provenance import REPOSITORY
from contimg.image.options import ImagingOptions
from contimg.index.options import RawOptions
from contimg.mosaic.options import MosaicOptions
from contimg.photometry.options import PhotometryOptions
from contimg.qa.options import QaOptions
from contimg.sky.options import CatalogOptions
from contimg.telescope.options import BeamOptions
from contimg.variability.ese_options import EseOptions
from contimg.variability.options import VariabilityOptions

SHIPPED_CALIBRATORS = Path("config/calibrators.csv")
Instant = Annotated[str, BeforeValidator(values.instant)]
Day = Annotated[str, BeforeValidator(values.day)]
TileName = Annotated[str, BeforeValidator(values.tile_name)]
FileName = Annotated[str, BeforeValidator(values.file_name)]


class Config(Options):
    """What to process, where it lies and where the products go; and a section for each stage."""

    incoming: Place = key(
        Path("incoming"),
        "Directory of the raw UVH5 files, searched with everything below it. Only the names of the "
        "products trees that are made of it are written there (.contimg/), for `contimg retention`.",
        expects="the path of a directory",
        example="/data/incoming",
    )
    products: Place = key(
        Path("products"),
        "Directory of everything that is made.",
        expects="the path of a directory",
        example="/data/products",
    )
    start: Instant | None = key(
        None,
        "First time of the range, inclusive: a tile belongs to it if its first integration starts in "
        "[start, end). A bare date means 00:00; null: from the first file.",
        unit="UTC",
        expects="a UTC date or time such as 2025-10-28 or 2025-10-28T13:30:00, or null",
        example="2025-10-28",
    )
    end: Instant | None = key(
        None,
        "End of the range, exclusive: end=2025-10-31 takes all of the 30th. null: to the last file.",
        unit="UTC",
        expects="a UTC date or time such as 2025-10-31 or 2025-10-31T06:00:00, or null",
        example="2025-10-31",
    )
    calibrator: Name | None = key(
        None,
        "Only the tiles around one transit of this calibrator (with transit_date), mosaicked about it; start "
        "and end are then not used.",
        expects="a name of the calibrator catalogue, or null",
        example="3C286",
    )
    transit_date: Day | None = key(
        None,
        "UTC date of that transit.",
        unit="UTC",
        expects="a UTC date such as 2025-10-30, or null",
        example="2025-10-30",
    )
    window_minutes: Annotated[float, Field(gt=0, le=1440), NUMBER] | None = key(
        None,
        "Full width of time about that transit, centred on it; null: mosaic.width_minutes.",
        unit="min",
        example=60.0,
    )
    exclude: Annotated[tuple[TileName, ...], BeforeValidator(values.listed)] = key(
        (),
        "Tiles to leave out, by name.",
        expects="tile names such as [2025-10-30T13:00:00, 2025-10-30T13:05:09]",
        example=["2025-10-30T13:00:00"],
    )
    min_subbands: Annotated[int, Field(ge=1, le=16), NUMBER] = key(
        16,
        "A tile with fewer usable subbands is left out; below 16, missing channels are flagged, never "
        "invented.",
        unit="subbands",
    )
    scratch: Place | None = key(
        None,
        "Fast directory of each machine (/dev/shm is one) in which Measurement Sets are written and imaged; null: "
        "TMPDIR, for what is only temporary. If it is memory, jobs ask for that much more.",
        expects="the path of a directory, or null",
        example="/dev/shm",
    )
    scratch_full: Literal["disk", "wait"] = key(
        "disk",
        "What a job does that finds too little room in scratch: work on disk (products, TMPDIR), or wait for "
        "other jobs to end.",
    )
    disk_reserve_gb: Annotated[float, Field(ge=0), NUMBER] = key(
        5.0,
        "Space that stays free where the products are: a run that would go below it is not feasible, and stops "
        "before it does, to be resumed by the same command.",
        unit="GB",
    )
    threads_per_job: Literal["auto"] | Annotated[int, Field(ge=1, le=256), NUMBER] = key(
        "auto",
        "Threads of a job that can use more than one. auto: one on a cluster, and as long as there are tiles (mosaics) "
        "to make for every core, which makes most of them in an hour; else two.",
        expects="a whole number of threads, or auto",
        example=2,
    )
    calibrators: Place = key(
        SHIPPED_CALIBRATORS,
        "Calibrator catalogue, CSV: name, ra_deg, dec_deg (ICRS), flux_jy (1.4 GHz), spectral_index, origin. "
        "The one shipped serves where this default is not found beside the run.",
        expects="the path of a CSV file",
    )
    catalog: Place | None = key(
        None,
        "Reference sources, any table that astropy reads: name, ra_deg, dec_deg (ICRS), flux_jy (1.4 GHz), or what "
        "catalog_table calls them. Those in a calibrator's field enter its model; a tile's search "
        "begins with them, and QA compares with them.",
        expects="the path of a table, or null",
        example="catalogs/nvss.fits",
    )
    mosaic_name: FileName | None = key(
        None,
        "One mosaic of the whole range under this name; null: the sidereal windows.",
        expects="a file name such as cygnus_2025, or null",
        example="cygnus_2025",
    )
    slurm: SlurmOptions = SlurmOptions()
    catalog_table: CatalogOptions = CatalogOptions()
    raw: RawOptions = RawOptions()
    calibration: CalibrationOptions = CalibrationOptions()
    beam: BeamOptions = BeamOptions()
    imaging: ImagingOptions = ImagingOptions()
    flagging: FlaggingOptions = FlaggingOptions()
    mosaic: MosaicOptions = MosaicOptions()
    photometry: PhotometryOptions = PhotometryOptions()
    variability: VariabilityOptions = VariabilityOptions()
    qa: QaOptions = QaOptions()
    ese: EseOptions = EseOptions()
    registry: RegistryOptions = RegistryOptions()
    retention: RetentionOptions = RetentionOptions()
    notify: NotifyOptions = NotifyOptions()
    service: ServiceOptions = ServiceOptions()

    @model_validator(mode="after")
    def _agree(self) -> Self:
        start, end = self.start_mjd, self.end_mjd
        if start is not None and end is not None and end <= start:
            raise ValueError(
                f"end: found {self.end}, which is not after start, {self.start}; write a later time (end is "
                "exclusive: the day after the last one)"
            )
        if self.calibrator is not None and self.transit_date is None:
            raise ValueError(
                f"transit_date: found nothing beside calibrator={self.calibrator}; write the UTC date of its "
                "transit, such as 2025-10-30"
            )
        for name in ("transit_date", "window_minutes"):
            if getattr(self, name) is not None and self.calibrator is None:
                raise ValueError(
                    f"calibrator: found nothing beside {name}={getattr(self, name)}; write the calibrator "
                    f"whose transit is meant, or leave {name} out"
                )
        if self.mosaic_name is not None and self.calibrator is not None:
            raise ValueError(
                f"mosaic_name: found {self.mosaic_name} beside calibrator={self.calibrator}, whose mosaic is "
                "named by its transit; leave one of the two out"
            )
        return self

    @property
    def start_mjd(self) -> float | None:
        """Start of the range in MJD UTC (inclusive), None if it is open."""
        return values.mjd(self.start)

    @property
    def end_mjd(self) -> float | None:
        """End of the range in MJD UTC (exclusive), None if it is open."""
        return values.mjd(self.end)

    @property
    def disk_reserve_bytes(self) -> int:
        """Space that stays free where the products are, in bytes."""
        return round(1e9 * self.disk_reserve_gb)

    @property
    def catalog_params(self) -> dict[str, Any] | None:
        """The reference catalogue as plain values for a rule's params: another file or column makes things again."""
        if self.catalog is None:
            return None
        return {"path": str(self.catalog), "options": self.catalog_table.model_dump(mode="json")}

    @property
    def has_sources(self) -> bool:
        """Whether there is a list of sources to measure."""
        return self.catalog is not None or self.photometry.sources is not None

    @property
    def source_files(self) -> list[str]:
        """The files that the list of sources is made from."""
        return [str(path) for path in (self.catalog, self.photometry.sources) if path is not None]

    def resolved(self, base: Path) -> Config:
        """Make every path absolute.

        Parameters
        ----------
        base : Path
            Directory that relative paths start from. `~` and `$NAME` are expanded. The default of
            `calibrators` is the shipped catalogue where `base` has no `config/calibrators.csv`.

        Returns
        -------
        Config
            A copy; absolute paths stay as they are.
        """

        def absolute(path: Path | None) -> Path | None:
            if path is None:
                return None
            # not Path.resolve: a symbolic link keeps its name in products and messages
            return Path(os.path.abspath(base / os.path.expandvars(path.expanduser())))

        paths = ("incoming", "products", "scratch", "calibrators", "catalog")
        update: dict[str, Any] = {name: absolute(getattr(self, name)) for name in paths}
        if self.calibrators == SHIPPED_CALIBRATORS and not update["calibrators"].exists():
            update["calibrators"] = REPOSITORY / SHIPPED_CALIBRATORS
        strategy = absolute(self.flagging.strategy)
        update["retention"] = self.retention.model_copy(update={"archive": absolute(self.retention.archive)})
        own = absolute(self.photometry.sources)
        update["photometry"] = self.photometry.model_copy(update={"sources": own})
        roots = tuple(found for root in self.service.roots if (found := absolute(root)) is not None)
        update["service"] = self.service.model_copy(update={"roots": roots})
        update["beam"] = self.beam.model_copy(update={"file": absolute(self.beam.file)})
        update["flagging"] = self.flagging.model_copy(update={"strategy": strategy})
        return self.model_copy(update=update)
