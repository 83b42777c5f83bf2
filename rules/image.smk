"""Measurement Sets and caltables to images."""


rule image_tile:
    input:
        ms="ms/science/{date}/{tile}.ms",
        sidecar="ms/science/{date}/{tile}.json",
        tables=lambda wildcards: NIGHT.cal_dirs(wildcards.tile),
    output:
        directory("images/{date}/{tile}"),
    params:
        **RUN.settings["image_tile"],
        nearest=lambda wildcards: NIGHT.nearest(wildcards.tile),
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
        **RUN.settings["apply_tile"],
        nearest=lambda wildcards: NIGHT.nearest(wildcards.tile),
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
