"""Measure how the bright sources of a tile drift through the beam.

Input: `ms/science/{date}/{tile}.ms` with its .json, the caltables it may use, and its image directory, whose
`{tile}.sources.parquet` says what was fitted. Output: `beam/{date}/{tile}/` with `{tile}.cells.parquet`, apparent
fluxes (Jy) of each source in parts of the tile and of the band, for each polarisation, and status.json.
Settings: `beam`, `imaging` (averaging), `scratch`.
"""

from contimg.beam.job import BeamTile
from contimg.image.options import ImagingOptions
from contimg.jobs import frame
from contimg.jobs.scratch import Scratch
from contimg.telescope.options import BeamOptions

job = BeamTile(
    tile=snakemake.wildcards.tile,
    ms=snakemake.input.ms,
    sidecar=snakemake.input.sidecar,
    candidates=tuple(snakemake.input.get("tables", ())),
    nearest=snakemake.params.nearest,
    interpolate=snakemake.params.interpolate,
    image=snakemake.input.image,
    directory=snakemake.output[0],
    imaging=ImagingOptions.model_validate(snakemake.params.imaging),
    beam=BeamOptions.model_validate(snakemake.params.beam),
    scratch=Scratch.of(snakemake.resources),
    threads=snakemake.threads,
)
frame.run_rule(snakemake, job)
