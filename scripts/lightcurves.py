"""Make the light curves of every source, what varies, and the page that shows it.

Input: the photometry tables of the run; every other one of the products tree is read too. Output:
`variability/lightcurves.parquet` (a folder; flux_norm in Jy on one scale), `sources.parquet` (measures of all sources),
`epochs.parquet` (what became of every table), `index.html` and the sidecar `lightcurves.json`.
Settings: `variability`.
"""

from contimg.jobs import frame
from contimg.variability.job import Lightcurves
from contimg.variability.options import VariabilityOptions

job = Lightcurves(
    options=VariabilityOptions.model_validate(snakemake.params.variability),
    threads=snakemake.threads,
)
frame.run_rule(snakemake, job, product=snakemake.output.curves)
