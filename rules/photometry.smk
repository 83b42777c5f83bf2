"""Mosaics that passed to the brightness of every listed source in them."""


rule source_list:
    input:
        found=NIGHT.found(),
        parts=CONFIG.source_files,
    output:
        sources="photometry/sources.parquet",
        record="photometry/sources.json",
    params:
        **RUN.settings["source_list"],
        gave_up=lambda wildcards, output: frame.given_up(output.sources),
    log:
        "logs/source_list/sources.log",
    benchmark:
        "benchmarks/source_list/sources.tsv"
    threads: 1
    retries: RESTARTS
    resources:
        **needs("source_list", NIGHT, CONFIG),
    conda:
        "../envs/pipeline.yaml"
    script:
        "../scripts/source_list.py"


rule photometry_mosaic:
    input:
        mosaic=lambda wildcards: NIGHT.judged(wildcards.date, wildcards.product).path,
        verdict="qa/{date}/{product}.json",
        images=lambda wildcards: NIGHT.mosaic_images(NIGHT.judged(wildcards.date, wildcards.product).path),
        sources="photometry/sources.parquet",
    output:
        table="photometry/{date}/{product}.parquet",
        record="photometry/{date}/{product}.json",
    params:
        **RUN.settings["photometry_mosaic"],
        pointings=lambda wildcards: NIGHT.pointings(wildcards.date, wildcards.product),
        gave_up=lambda wildcards, output: frame.given_up(output.table),
    log:
        "logs/photometry_mosaic/{date}/{product}.log",
    benchmark:
        "benchmarks/photometry_mosaic/{date}/{product}.tsv"
    threads: 1
    retries: RESTARTS
    resources:
        **needs("photometry_mosaic", NIGHT, CONFIG),
    conda:
        "../envs/pipeline.yaml"
    wildcard_constraints:
        product=names.NOT_A_TILE_PATTERN,
    script:
        "../scripts/photometry_mosaic.py"
