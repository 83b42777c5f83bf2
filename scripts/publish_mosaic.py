"""Publish a mosaic that passed: a numbered, read-only copy with complete headers, checksums and a manifest.

Input: a mosaic's directory and the verdict on it. Output: a receipt, `state/published/{date}/{product}.json`, which
says where it is published (`published/{date}/{product}/v1/`) or why it is not. Versions are never written over.
"""

from contimg.jobs import frame
from contimg.publish.job import PublishMosaic
from contimg.run import entry

job = PublishMosaic(
    product=snakemake.input.mosaic,
    verdict=snakemake.input.verdict,
    receipt=snakemake.output[0],
    configuration=entry.frozen_configuration(),
)
frame.run_rule(snakemake, job)
