"""Fitted sources to the primary beam: made only when asked for (target `beam`)."""


rule beam_tile:
    input:
        ms="ms/science/{date}/{tile}.ms",
        sidecar="ms/science/{date}/{tile}.json",
        tables=lambda wildcards: NIGHT.cal_dirs(wildcards.tile),
        image="images/{date}/{tile}",
    output:
        directory("beam/{date}/{tile}"),
    params:
        **RUN.settings["beam_tile"],
        nearest=lambda wildcards: NIGHT.nearest(wildcards.tile),
        gave_up=lambda wildcards, output: frame.given_up(output[0]),
    log:
        "logs/beam_tile/{date}/{tile}.log",
    benchmark:
        "benchmarks/beam_tile/{date}/{tile}.tsv"
    threads: RUN.threads.tile
    retries: RESTARTS
    resources:
        **needs("beam_tile", NIGHT, CONFIG),
    conda:
        "../envs/pipeline.yaml"
    wildcard_constraints:
        tile=NIGHT.retired.made_from_sets,
    script:
        "../scripts/beam_tile.py"


rule beam_measure:
    input:
        lambda wildcards: NIGHT.span_beams(wildcards.first, wildcards.last),
    output:
        directory("beam/{first}_{last}"),
    params:
        **RUN.settings["beam_measure"],
        gave_up=lambda wildcards, output: frame.given_up(output[0]),
    log:
        "logs/beam_measure/{first}_{last}.log",
    benchmark:
        "benchmarks/beam_measure/{first}_{last}.tsv"
    threads: 1
    retries: RESTARTS
    resources:
        **needs("beam_measure", NIGHT, CONFIG),
    conda:
        "../envs/pipeline.yaml"
    script:
        "../scripts/beam_measure.py"
