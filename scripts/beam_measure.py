"""Fit the primary beam to the tiles of a span, and say what to write into the configuration.

Input: `beam/{date}/{tile}/` of every tile. Output: `beam/{first}_{last}/` with the fitted beam as a beam file
(`.beam.fits`), the cells that were fitted, a plot and status.json: effective diameter (m) for each part of the band,
pointing offset and squint (deg), errors, and a recommendation. Settings: `beam`, `catalog`.
"""

from contimg.beam.job import BeamMeasure
from contimg.jobs import frame
from contimg.sky.catalog import Catalog
from contimg.telescope.options import BeamOptions

job = BeamMeasure(
    tiles=tuple(snakemake.input),
    directory=snakemake.output[0],
    beam=BeamOptions.model_validate(snakemake.params.beam),
    catalog=Catalog.of(snakemake.params.catalog),
)
frame.run_rule(snakemake, job)
