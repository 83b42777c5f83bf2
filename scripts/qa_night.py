"""Make the page of a night: one screen of verdict, what is missing and why, the latency clock, then pictures.

Input: the verdicts of the date that this run makes; the page shows all that the products tree holds of it. Output:
`qa/{date}.html`, which needs no other file. Settings: `qa.flux_snr`.
"""

from contimg.jobs import frame
from contimg.qa.page import NightPage

job = NightPage(
    date=snakemake.wildcards.date,
    path=snakemake.output[0],
    left_out=tuple(map(tuple, snakemake.params.left_out)),
    flux_snr=snakemake.params.flux_snr,
)
frame.run_rule(snakemake, job)
