"""Judge a mosaic: the gates of a tile (`qa_tile`), on the mosaic's own planes and with the verdicts of its tiles.

Input: a mosaic's directory and the verdicts of its tiles. Output: `qa/{date}/{mosaic}.json` with each gate's value,
limits and verdict, and `{mosaic}.sources.parquet`. A mosaic that fails is not published.
Settings: `qa`, `catalog`, `catalog_table`.
"""

from contimg.jobs import frame
from contimg.qa.job import QaMosaic
from contimg.qa.options import QaOptions
from contimg.sky.catalog import Catalog

job = QaMosaic(
    directory=snakemake.input.mosaic,
    tile_verdicts=tuple(snakemake.input.tiles),
    verdict=snakemake.output.verdict,
    sources=snakemake.output.sources,
    catalog=Catalog.of(snakemake.params.catalog),
    options=QaOptions.model_validate(snakemake.params.qa),
)
frame.run_rule(snakemake, job)
