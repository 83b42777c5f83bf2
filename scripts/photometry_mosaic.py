"""Measure every listed source in a mosaic that passed its gates.

Input: a mosaic's directory and verdict, the images of its tiles (their beams, noise and fits to the visibilities) and
the list of sources. Output: `photometry/{date}/{mosaic}.parquet`, one row a source that the mosaic covers, fluxes in
Jy, and its sidecar; of a mosaic that failed no rows and the reason.
Settings: `photometry`.
"""

from contimg.jobs import frame
from contimg.photometry.job import PhotometryMosaic
from contimg.photometry.options import PhotometryOptions

job = PhotometryMosaic(
    directory=snakemake.input.mosaic,
    verdict=snakemake.input.verdict,
    sources=snakemake.input.sources,
    table=snakemake.output.table,
    record=snakemake.output.record,
    pointings=dict(snakemake.params.pointings),
    options=PhotometryOptions.model_validate(snakemake.params.photometry),
)
frame.run_rule(snakemake, job)
