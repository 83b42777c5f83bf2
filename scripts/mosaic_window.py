"""Make a mosaic from the tile images of a sidereal window, or of the tiles round a calibrator's transit.

Input: image directories and the verdicts on them: a tile that failed is left out.
Output: `mosaics/{date}/{mosaic}/` (or `mosaics/{calibrator}/{date}/`) with the mosaic,
its weights and rms (FITS), a picture and status.json, which lists every tile used or not, and why.
Settings: `mosaic`.
"""

from contimg.jobs import frame
from contimg.mosaic.job import Mosaic
from contimg.mosaic.options import MosaicOptions
from contimg.mosaic.windows import Window

job = Mosaic(
    window=Window(**snakemake.params.window),
    images=tuple(snakemake.input.images),
    verdicts=tuple(snakemake.input.verdicts),
    directory=snakemake.output[0],
    options=MosaicOptions.model_validate(snakemake.params.mosaic),
    threads=snakemake.threads,
)
frame.run_rule(snakemake, job)
