"""Images and mosaics to verdicts: what fails goes no further."""


rule qa_tile:
    input:
        "images/{date}/{tile}",
    output:
        verdict="qa/{date}/{tile}.json",
        sources="qa/{date}/{tile}.sources.parquet",
    params:
        **RUN.settings["qa_tile"],
        pointing=lambda wildcards: NIGHT.pointing(wildcards.tile),
        gave_up=lambda wildcards, output: frame.given_up(output.verdict),
    log:
        "logs/qa_tile/{date}/{tile}.log",
    benchmark:
        "benchmarks/qa_tile/{date}/{tile}.tsv"
    group:
        "image_{tile}"
    threads: 1
    retries: RESTARTS
    resources:
        **needs("qa_tile", NIGHT, CONFIG),
    conda:
        "../envs/pipeline.yaml"
    wildcard_constraints:
        tile=NIGHT.retired.judged,
    script:
        "../scripts/qa_tile.py"


rule qa_mosaic:
    input:
        mosaic=lambda wildcards: NIGHT.judged(wildcards.date, wildcards.product).path,
        tiles=lambda wildcards: NIGHT.tile_verdicts(NIGHT.judged(wildcards.date, wildcards.product).tiles),
    output:
        verdict="qa/{date}/{product}.json",
        sources="qa/{date}/{product}.sources.parquet",
    params:
        **RUN.settings["qa_mosaic"],
        gave_up=lambda wildcards, output: frame.given_up(output.verdict),
    log:
        "logs/qa_mosaic/{date}/{product}.log",
    benchmark:
        "benchmarks/qa_mosaic/{date}/{product}.tsv"
    threads: 1
    retries: RESTARTS
    resources:
        **needs("qa_mosaic", NIGHT, CONFIG),
    conda:
        "../envs/pipeline.yaml"
    wildcard_constraints:
        product=names.NOT_A_TILE_PATTERN,
    script:
        "../scripts/qa_mosaic.py"


rule inject_tile:
    input:
        ms="ms/science/{date}/{tile}.ms",
        sidecar="ms/science/{date}/{tile}.json",
        tables=lambda wildcards: NIGHT.cal_dirs(wildcards.tile),
        image="images/{date}/{tile}",
    output:
        record="qa/{date}/injection/{tile}.json",
        sources="qa/{date}/injection/{tile}.parquet",
    params:
        **RUN.settings["inject_tile"],
        nearest=lambda wildcards: NIGHT.nearest(wildcards.tile),
        gave_up=lambda wildcards, output: frame.given_up(output.record),
    log:
        "logs/inject_tile/{date}/{tile}.log",
    benchmark:
        "benchmarks/inject_tile/{date}/{tile}.tsv"
    threads: RUN.threads.tile
    retries: RESTARTS
    resources:
        **needs("inject_tile", NIGHT, CONFIG),
    conda:
        "../envs/casa.yaml"
    wildcard_constraints:
        tile=NIGHT.retired.made_from_sets,
    script:
        "../scripts/inject_tile.py"


rule qa_night:
    input:
        verdicts=lambda wildcards: NIGHT.verdicts_of(wildcards.date),
        measured=lambda wildcards: NIGHT.photometry_of(wildcards.date),
    output:
        "qa/{date}.html",
    params:
        **RUN.settings["qa_night"],
        left_out=lambda wildcards: NIGHT.left_out_of(wildcards.date),
        gave_up=lambda wildcards, output: frame.given_up(output[0]),
    log:
        "logs/qa_night/{date}.log",
    benchmark:
        "benchmarks/qa_night/{date}.tsv"
    threads: 1
    retries: RESTARTS
    resources:
        **needs("qa_night", NIGHT, CONFIG),
    conda:
        "../envs/pipeline.yaml"
    script:
        "../scripts/qa_night.py"
