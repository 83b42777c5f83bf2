"""Put together the list of what is measured: reference catalogue, own list, and what was found blind often enough.

Input: the tables of sources that QA found in the run's mosaics (all that the products tree holds are read), the
catalogue and the own list. Output: `photometry/sources.parquet`, one row a source with its IAU name, and its sidecar.
Settings: `photometry`, `catalog`, `catalog_table`.
"""

from contimg.jobs import frame
from contimg.photometry.job import SourceList
from contimg.photometry.options import PhotometryOptions
from contimg.sky.catalog import Catalog

job = SourceList(
    path=snakemake.output.sources,
    record=snakemake.output.record,
    found=tuple(snakemake.input.found),
    catalog=Catalog.of(snakemake.params.catalog),
    options=PhotometryOptions.model_validate(snakemake.params.photometry),
)
frame.run_rule(snakemake, job)
