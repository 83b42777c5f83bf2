"""Make the calibrated Measurement Set of a tile as a product: the same code as image_tile runs in scratch.

Input: `ms/science/{date}/{tile}.ms` with its .json, and the caltables the tile may use, best first. Output:
`ms/calibrated/{date}/{tile}.ms`, averaged in frequency as far as smearing allows, with its .json.
Settings: `imaging` (`smearing_loss` …), `beam`.
"""

from contimg.image.job import ApplyTile
from contimg.image.options import ImagingOptions
from contimg.jobs import frame
from contimg.telescope.options import BeamOptions

job = ApplyTile(
    tile=snakemake.wildcards.tile,
    ms=snakemake.input.ms,
    sidecar=snakemake.input.sidecar,
    candidates=tuple(snakemake.input.get("tables", ())),
    nearest=snakemake.params.nearest,
    interpolate=snakemake.params.interpolate,
    calibrated=snakemake.output.ms,
    calibrated_sidecar=snakemake.output.sidecar,
    imaging=ImagingOptions.model_validate(snakemake.params.imaging),
    beam=BeamOptions.model_validate(snakemake.params.beam),
    threads=snakemake.threads,
)
frame.run_rule(snakemake, job)
