"""Make the image of a tile: choose its caltable, apply it, average, image, correct for the primary beam.

Input: `ms/science/{date}/{tile}.ms` with its .json, and the caltables the tile may use, best first. Output:
`images/{date}/{tile}/` with the apparent image, its primary-beam-corrected form, the drift-averaged power beam
and the local rms (FITS), a picture and status.json. The calibrated data live in scratch only.
Settings: `imaging`, `beam`, `catalog`, `catalog_table`, `scratch`.
"""

from contimg.image.job import ImageTile
from contimg.image.options import ImagingOptions
from contimg.jobs import frame
from contimg.jobs.scratch import Scratch
from contimg.sky.catalog import Catalog
from contimg.telescope.options import BeamOptions

job = ImageTile(
    tile=snakemake.wildcards.tile,
    ms=snakemake.input.ms,
    sidecar=snakemake.input.sidecar,
    candidates=tuple(snakemake.input.get("tables", ())),
    nearest=snakemake.params.nearest,
    catalog=Catalog.of(snakemake.params.catalog),
    interpolate=snakemake.params.interpolate,
    directory=snakemake.output[0],
    imaging=ImagingOptions.model_validate(snakemake.params.imaging),
    beam=BeamOptions.model_validate(snakemake.params.beam),
    scratch=Scratch.of(snakemake.resources),
    threads=snakemake.threads,
    log=snakemake.log[0],
)
frame.run_rule(snakemake, job)
