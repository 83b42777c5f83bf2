"""Make the science Measurement Set of a tile from its raw subband files.

Input: the tile's UVH5 files. Output: `ms/science/{date}/{tile}.ms`, every integration phased to the meridian at
the tile's mid-time (ICRS), flagged, uncalibrated; beside it `{tile}.json`, which says `rejected` where the data
are unusable. Settings: `flagging`, `min_subbands`.
"""

from contimg.convert.job import ConvertTile
from contimg.convert.options import FlaggingOptions
from contimg.index.tile import Slot
from contimg.jobs import frame
from contimg.jobs.scratch import Scratch

job = ConvertTile(
    tile=snakemake.wildcards.tile,
    slots=tuple(Slot(**slot) for slot in snakemake.params.slots),
    ms=snakemake.output.ms,
    sidecar=snakemake.output.sidecar,
    flagging=FlaggingOptions.model_validate(snakemake.params.flagging),
    scratch=Scratch.of(snakemake.resources),
    threads=snakemake.threads,
)
frame.run_rule(snakemake, job)
