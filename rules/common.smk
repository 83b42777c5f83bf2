"""What the rules share: the shape of names, and resources as functions of input size and attempt."""

from contimg.core import names
from contimg.jobs import frame
from contimg.registry.sidecars import state_of_others
from contimg.run.resources import needs
from contimg.variability.tables import state_of_others as other_photometry

# A job of a cluster is tried once: the run submits it again, with more memory. Otherwise it would try again inside its
# allocation, with the old (issues 284 and 348 of the SLURM plugin).
RESTARTS = frame.RESTARTS if workflow.is_main_process else 0


wildcard_constraints:
    date=names.DATE_PATTERN,
    tile=names.TILE_PATTERN,
    first=names.TILE_PATTERN,
    last=names.TILE_PATTERN,
    mosaic=names.NOT_A_DATE_PATTERN,
    calibrator=names.NOT_A_DATE_PATTERN,


localrules:
    all,
    convert,
    calibrate,
    apply,
    image,
    mosaic,
    beam,
    photometry,
    ese,
    plan,
    qa,
    publish,
    list_published,
    registry,
    build_registry,
