"""Make caltables from the tile that a calibrator transits.

Input: the tile's UVH5 files. Output: `ms/calibrators/{date}/{tile}_{calibrator}.ms`, phased to the calibrator,
with its .json; `cal/{date}/{tile}_{calibrator}/` with K, BP and G (CASA tables), plots and status.json, which
gives the verdict: tiles use the table only if it is `ok`. Settings: `calibration`, `flagging`, `beam`,
`calibrators`, `catalog`, `catalog_table`.
"""

from contimg.calibrate.job import CalibrateTransit
from contimg.calibrate.options import CalibrationOptions
from contimg.convert.options import FlaggingOptions
from contimg.index.tile import Slot
from contimg.jobs import frame
from contimg.jobs.scratch import Scratch
from contimg.sky.calibrators import Calibrator
from contimg.sky.catalog import Catalog
from contimg.telescope.options import BeamOptions

job = CalibrateTransit(
    tile=snakemake.wildcards.tile,
    slots=tuple(Slot(**slot) for slot in snakemake.params.slots),
    calibrator=Calibrator(**snakemake.params.calibrator),
    catalog=Catalog.of(snakemake.params.catalog),
    ms=snakemake.output.ms,
    sidecar=snakemake.output.sidecar,
    tables=snakemake.output.tables,
    flagging=FlaggingOptions.model_validate(snakemake.params.flagging),
    calibration=CalibrationOptions.model_validate(snakemake.params.calibration),
    beam=BeamOptions.model_validate(snakemake.params.beam),
    scratch=Scratch.of(snakemake.resources),
    threads=snakemake.threads,
    log=snakemake.log[0],
)
frame.run_rule(snakemake, job, product=snakemake.output.tables)
