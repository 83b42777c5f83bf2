"""Search the light curves for extreme scattering events.

Input: `variability/lightcurves.parquet`. Output: `variability/ese_candidates.csv` (a row an event, most significant
first) with its sidecar, `variability/candidates/` (a page a candidate). What was found of every source stays in
`variability/ese_scores.parquet`, from which the next search goes on; `notices.json` are its notices.
Settings: `ese`.
"""

from contimg.jobs import frame
from contimg.variability.ese_job import EseSearch
from contimg.variability.ese_options import EseOptions

job = EseSearch(
    curves=snakemake.input.curves,
    options=EseOptions.model_validate(snakemake.params.ese),
    threads=snakemake.threads,
)
frame.run_rule(snakemake, job, product=snakemake.output.candidates)
