"""DSA-110 continuum pipeline: raw UVH5 subband files to calibrated, primary-beam-right images and mosaics.

    snakemake -n --config start=2025-10-30 end=2025-10-31     plan a night
    snakemake --cores all                                     make it

The configuration is config/config.yaml, config/site.yaml if there is one, then --configfile, then --config.
Products are made in the directory that `products` names, which is the working directory:
`snakemake images/2025-10-30/2025-10-30T13:00:00` asks for one of them.
"""

import sys
from pathlib import Path

from snakemake.utils import min_version

min_version("9.0")

CLONE = Path(workflow.basedir)
sys.path.insert(0, str(CLONE / "scripts"))

from contimg.run import entry


configfile: str(CLONE / "config" / "config.yaml")


if (CLONE / "config" / "site.yaml").is_file():

    configfile: str(CLONE / "config" / "site.yaml")


RUN = entry.begin(
    config,
    clone=CLONE,
    main=workflow.is_main_process,
    cores=workflow.resource_settings.cores if workflow.is_main_process and workflow.local_exec else None,
)
CONFIG, NIGHT = RUN.config, RUN.night


workdir: CONFIG.products


include: "rules/common.smk"
include: "rules/targets.smk"
include: "rules/convert.smk"
include: "rules/calibrate.smk"
include: "rules/image.smk"
include: "rules/mosaic.smk"
include: "rules/beam.smk"
include: "rules/qa.smk"
include: "rules/photometry.smk"
include: "rules/variability.smk"
include: "rules/publish.smk"
include: "rules/plan.smk"
include: "rules/firstlight.smk"
include: "rules/registry.smk"


# Snakemake forgets a default target that an included file names.
rule all:
    default_target: True
    input:
        NIGHT.up_to_lightcurves(),


report: "docs/captions/workflow.rst"


if workflow.is_main_process:
    RUN.watch(workflow, logger)
    RUN.bound(workflow)


onstart:
    RUN.started()


onsuccess:
    RUN.succeeded()


onerror:
    RUN.failed()
