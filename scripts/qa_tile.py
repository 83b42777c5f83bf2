"""Judge a tile's image: noise, artefacts, false sources, beam, flags, weights; with a catalogue fluxes and places.

Input: `images/{date}/{tile}/`. Output: `qa/{date}/{tile}.json` with each gate's value, limits and verdict, and
`{tile}.sources.parquet`: the sources found, with what the catalogue has of them. A tile that fails goes into no mosaic.
Settings: `qa`, `catalog`, `catalog_table`.
"""

from contimg.jobs import frame
from contimg.qa.conditions import Pointing
from contimg.qa.job import QaTile
from contimg.qa.options import QaOptions
from contimg.sky.catalog import Catalog

job = QaTile(
    directory=snakemake.input[0],
    verdict=snakemake.output.verdict,
    sources=snakemake.output.sources,
    catalog=Catalog.of(snakemake.params.catalog),
    options=QaOptions.model_validate(snakemake.params.qa),
    pointing=Pointing(**snakemake.params.pointing),
)
frame.run_rule(snakemake, job)
