"""List what is published of a date: versions, ObsCore table, coverage.

Input: the receipts of a date's mosaics. Output: `state/published/{date}.json`, which names the current ones; beside it
`published/{date}/index.json`, `obscore.csv`, `obscore.vot` and `coverage.moc.fits` are written anew from the manifests.
"""

from contimg.jobs import frame
from contimg.publish.job import ListPublished

job = ListPublished(date=snakemake.wildcards.date, listing=snakemake.output[0])
frame.run_rule(snakemake, job)
