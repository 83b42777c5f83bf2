"""Measure what a tile's image is worth: known faint sources go into its visibilities, and it is imaged once more.

Input: what `image_tile` takes, and the image that it made. Output: `qa/{date}/injection/{tile}.json` with the
completeness curve and the flux bias, and `{tile}.parquet`, a row for each injected source.
Settings: `qa.injection_minutes`, `qa.injection_pb`, and those of `image_tile`.
"""

from contimg.image.job import ImageTile
from contimg.image.options import ImagingOptions
from contimg.jobs import frame
from contimg.jobs.scratch import Scratch
from contimg.qa.injection import InjectTile
from contimg.qa.options import QaOptions
from contimg.sky.catalog import Catalog
from contimg.telescope.options import BeamOptions

image = ImageTile(
    tile=snakemake.wildcards.tile,
    ms=snakemake.input.ms,
    sidecar=snakemake.input.sidecar,
    candidates=tuple(snakemake.input.get("tables", ())),
    nearest=snakemake.params.nearest,
    interpolate=snakemake.params.interpolate,
    catalog=Catalog.of(snakemake.params.catalog),
    directory=snakemake.input.image,
    imaging=ImagingOptions.model_validate(snakemake.params.imaging),
    beam=BeamOptions.model_validate(snakemake.params.beam),
    scratch=Scratch.of(snakemake.resources),
    threads=snakemake.threads,
    log=snakemake.log[0],
)
options = QaOptions.model_validate(snakemake.params.qa)
job = InjectTile(image, snakemake.output.record, snakemake.output.sources, options)
frame.run_rule(snakemake, job)
