"""Mosaics that passed to published versions. No version is a rule's output: a rerun would delete it first."""


rule publish_mosaic:
    input:
        mosaic=lambda wildcards: NIGHT.judged(wildcards.date, wildcards.product).path,
        verdict="qa/{date}/{product}.json",
    output:
        "state/published/{date}/{product}.json",
    params:
        gave_up=lambda wildcards, output: frame.given_up(output[0]),
    log:
        "logs/publish_mosaic/{date}/{product}.log",
    benchmark:
        "benchmarks/publish_mosaic/{date}/{product}.tsv"
    threads: 1
    retries: RESTARTS
    resources:
        **needs("publish_mosaic", NIGHT, CONFIG),
    conda:
        "../envs/pipeline.yaml"
    wildcard_constraints:
        product=names.NOT_A_TILE_PATTERN,
    script:
        "../scripts/publish_mosaic.py"


rule list_published:
    input:
        lambda wildcards: NIGHT.receipts(wildcards.date),
    output:
        "state/published/{date}.json",
    params:
        gave_up=lambda wildcards, output: frame.given_up(output[0]),
    log:
        "logs/list_published/{date}.log",
    benchmark:
        "benchmarks/list_published/{date}.tsv"
    threads: 1
    retries: RESTARTS
    resources:
        **needs("list_published", NIGHT, CONFIG),
    conda:
        "../envs/pipeline.yaml"
    script:
        "../scripts/list_published.py"
