"""Measurement Sets and caltables to images."""


rule image_tile:
    input:
        ms="ms/science/{date}/{tile}.ms",
        sidecar="ms/science/{date}/{tile}.json",
        tables=lambda wildcards: NIGHT.cal_dirs(wildcards.tile),
    output:
        directory("images/{date}/{tile}"),
    params:
        nearest=lambda wildcards: NIGHT.nearest(wildcards.tile),
        interpolate=CONFIG.calibration.interpolate,
        imaging=CONFIG.imaging.model_dump(mode="json"),
        tier=RUN.imaging.model_dump(mode="json"),  # a changed tier makes the image again
        beam=CONFIG.beam.model_dump(mode="json"),
        beam_file=RUN.beam_digest,  # another content is another beam
        catalog=CONFIG.catalog_params,
        gave_up=lambda wildcards, output: frame.given_up(output[0]),
    log:
        "logs/image_tile/{date}/{tile}.log",
    benchmark:
        "benchmarks/image_tile/{date}/{tile}.tsv"
    group:
        "image_{tile}"  # with its verdict, one job of a cluster: every job pays for two starts of Snakemake
    threads: RUN.threads.tile
    retries: RESTARTS
    resources:
        **needs("image_tile", NIGHT, CONFIG),
    conda:
        "../envs/casa.yaml"
    wildcard_constraints:
        tile=NIGHT.retired.made_from_sets,
    script:
        "../scripts/image_tile.py"


rule apply_tile:
    input:
        ms="ms/science/{date}/{tile}.ms",
        sidecar="ms/science/{date}/{tile}.json",
        tables=lambda wildcards: NIGHT.cal_dirs(wildcards.tile),
    output:
        ms=directory("ms/calibrated/{date}/{tile}.ms"),
        sidecar="ms/calibrated/{date}/{tile}.json",
    params:
        nearest=lambda wildcards: NIGHT.nearest(wildcards.tile),
        interpolate=CONFIG.calibration.interpolate,
        imaging=CONFIG.imaging.model_dump(mode="json", include=APPLIED_BY),
        tier=RUN.imaging.model_dump(mode="json", include=APPLIED_BY),
        beam=CONFIG.beam.model_dump(mode="json"),
        beam_file=RUN.beam_digest,  # another content is another beam
        gave_up=lambda wildcards, output: frame.given_up(output.ms),
    log:
        "logs/apply_tile/{date}/{tile}.log",
    benchmark:
        "benchmarks/apply_tile/{date}/{tile}.tsv"
    threads: RUN.threads.tile
    retries: RESTARTS
    resources:
        **needs("apply_tile", NIGHT, CONFIG),
    conda:
        "../envs/casa.yaml"
    wildcard_constraints:
        tile=NIGHT.retired.made_from_sets,
    script:
        "../scripts/apply_tile.py"
