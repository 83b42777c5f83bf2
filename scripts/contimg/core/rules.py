"""What works: every rule that makes products, with its words, what it needs and costs, its log and its settings.

The rules' resources and settings, the plan's costs, the progress line and the run report go through this table. A test
asks Snakemake whether its rules are those of the table.

Needs hold a margin of a half over what full tiles took (96 antennas, 24 integrations, 768 channels: 2.31 GB of raw
files; `make bench`). Seconds are wall time on two idle cores, the start of the job not included: those of tiles from
`make bench STAGES=whole`, the others from logs and benchmark tables of single jobs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

FULL_TILE_GB = 2.31


@dataclass(frozen=True)
class Need:
    """Resources of a job: a constant, and what each unit of its size adds."""

    mem_mb: float
    mem_mb_per_unit: float
    minutes: float
    minutes_per_unit: float
    disk_mb: float
    disk_mb_per_unit: float
    scratch_mb: float = 0.0
    scratch_mb_per_unit: float = 0.0


@dataclass(frozen=True)
class Rule:
    """One working rule.

    Attributes
    ----------
    name : str
    words : str
        What of its products the progress line counts.
    unit : {"GB", "tiles", "verdicts", "none"}
        What its needs grow with: raw data of its tile, tiles of its mosaic, verdicts of its date.
    need : Need
        Resources that it promises to keep to.
    log : str
        Pattern of its log; its benchmark table is at the same place below benchmarks/.
    full_tile_s : float, optional
        Wall seconds of a full tile, for rules that work on a tile.
    least_s : float
        Of those, what the smallest tile takes as well: Python and the libraries are started, a sky is searched.
        Processor seconds of a tile of 28 MB.
    input_s : float, optional
        Wall seconds for each input, for the others; None: not known.
    writes : tuple of float, optional
        Bytes that stay of a tile, whatever its size, and of each GB of its raw data.
    priority : int
        Snakemake's: of jobs whose inputs are there, the higher go first.
    settings : tuple of str
        Parts of the configuration that its product depends on (`contimg.plan.settings`): another value of one makes
        it again.
    """

    name: str
    words: str
    unit: Literal["GB", "tiles", "verdicts", "none"]
    need: Need
    log: str
    full_tile_s: float | None = None
    least_s: float = 0.0
    input_s: float | None = None
    writes: tuple[float, float] | None = None
    priority: int = 0
    settings: tuple[str, ...] = ()


# Scratch of a conversion: the Measurement Set. Of the others at most: the calibrated set, unaveraged, and WSClean's
# copy of it. A tile is two inputs of a mosaic, its image and the verdict on it.
RULES = (
    Rule(
        "convert_tile",
        "tiles converted",
        "GB",
        Need(900, 300, 4, 4, 100, 900, 100, 900),
        "logs/convert_tile/{date}/{tile}.log",
        full_tile_s=37.0,
        least_s=4.0,
        writes=(0.0, 0.61e9),
        settings=("flagging",),
    ),
    Rule(
        "calibrate_transit",
        "transits calibrated",
        "GB",
        Need(1500, 700, 6, 8, 100, 1300, 400, 1750),
        "logs/calibrate_transit/{date}/{tile}_{calibrator}.log",
        full_tile_s=99.0,  # with the conversion of its tile
        least_s=45.0,
        writes=(4e6, 0.61e9),
        priority=1,
        settings=("flagging", "calibration", "beam", "catalog"),
    ),
    Rule(
        "image_tile",
        "tiles imaged",
        "GB",
        Need(2500, 1500, 10, 15, 400, 900, 400, 1750),
        "logs/image_tile/{date}/{tile}.log",
        full_tile_s=68.0,
        least_s=15.0,
        writes=(0.17e9, 0.0),
        settings=("interpolate", "imaging", "beam", "catalog"),
    ),
    Rule(
        "apply_tile",
        "tiles calibrated",
        "GB",
        Need(900, 300, 4, 4, 100, 900),
        "logs/apply_tile/{date}/{tile}.log",
        full_tile_s=8.0,
        least_s=3.0,
        writes=(0.0, 0.23e9),  # averaged by four channels, with WEIGHT_SPECTRUM
        settings=("interpolate", "averaging", "averaging_tier", "beam"),
    ),
    Rule(
        "qa_tile",
        "judged",
        "GB",
        Need(500, 500, 2, 2, 10, 0),
        "logs/qa_tile/{date}/{tile}.log",
        full_tile_s=3.0,
        least_s=2.5,
        writes=(0.1e6, 0.0),
        settings=("judged", "catalog"),
    ),
    Rule(
        "mosaic_window",
        "mosaics",
        "tiles",
        Need(2500, 40, 5, 2, 500, 20),
        "logs/mosaic_window/{date}/{mosaic}.log",
        input_s=2.5,
        settings=("mosaic",),
    ),
    Rule(
        "mosaic_transit",
        "mosaics",
        "tiles",
        Need(2500, 40, 5, 2, 500, 20),
        "logs/mosaic_transit/{calibrator}/{date}.log",
        input_s=2.5,
        settings=("mosaic",),
    ),
    Rule(
        "qa_mosaic",
        "judged",
        "tiles",
        Need(1500, 200, 5, 1, 20, 0),
        "logs/qa_mosaic/{date}/{product}.log",
        input_s=1.0,
        settings=("judged", "catalog"),
    ),
    Rule(
        "source_list",
        "lists of sources",
        "none",
        Need(3000, 0, 15, 0, 200, 0),
        "logs/source_list/sources.log",
        input_s=0.2,
        settings=("catalog", "listed"),
    ),
    Rule(
        "photometry_mosaic",
        "mosaics measured",
        "tiles",
        Need(1500, 100, 5, 0.5, 20, 1),
        "logs/photometry_mosaic/{date}/{product}.log",
        input_s=1.0,  # for 10,000 sources
        settings=("measured",),
    ),
    # Memory is bounded whatever the number of epochs; disk is that of a year of some thousand sources.
    Rule(
        "lightcurves",
        "light curves",
        "none",
        Need(3000, 0, 30, 0, 1000, 0),
        "logs/lightcurves/all.log",
        settings=("variability",),
    ),
    Rule(
        "ese_search",
        "searches",
        "none",
        Need(3000, 0, 60, 0, 1000, 0),
        "logs/ese_search/all.log",
        input_s=300.0,  # 10,000 sources of 365 epochs; less where most of them are as at the last search
        settings=("ese",),
    ),
    Rule(
        "publish_mosaic",
        "published",
        "tiles",
        Need(1500, 60, 3, 1, 500, 20),
        "logs/publish_mosaic/{date}/{product}.log",
    ),
    Rule(
        "inject_tile",
        "tiles with injected sources",
        "GB",
        Need(2500, 1500, 10, 15, 400, 900, 400, 1750),
        "logs/inject_tile/{date}/{tile}.log",
        full_tile_s=68.0,  # the image once more
        least_s=15.0,
        writes=(0.1e6, 0.0),
        settings=("interpolate", "imaging", "beam", "catalog", "injected"),
    ),
    Rule(
        "beam_tile",
        "tiles' beams",
        "GB",
        Need(1500, 600, 4, 6, 100, 900, 400, 1750),
        "logs/beam_tile/{date}/{tile}.log",
        full_tile_s=25.0,
        least_s=4.0,
        writes=(0.1e6, 0.0),
        settings=("interpolate", "averaging", "beam"),
    ),
    Rule(
        "beam_measure",
        "beams",
        "none",
        Need(2000, 0, 15, 0, 100, 0),
        "logs/beam_measure/{first}_{last}.log",
        settings=("beam", "catalog"),
    ),
    Rule(
        "qa_night",
        "pages",
        "verdicts",
        Need(1500, 2, 5, 0.1, 50, 1),
        "logs/qa_night/{date}.log",
        input_s=0.3,
        settings=("flux_snr",),
    ),
    Rule("list_published", "lists", "none", Need(1000, 0, 10, 0, 10, 0), "logs/list_published/{date}.log"),
    # A million of products, and the old file beside the new one.
    Rule(
        "build_registry",
        "registries",
        "none",
        Need(1000, 0, 30, 0, 3000, 0),
        "logs/build_registry.log",
        settings=("backups",),
    ),
)
"""In the order data flow."""

BY_NAME = {rule.name: rule for rule in RULES}
