"""Photometry of all nights to light curves, and what varies in them."""


rule lightcurves:
    input:
        NIGHT.photometry(),
    output:
        curves=directory("variability/lightcurves.parquet"),
        sources="variability/sources.parquet",
        epochs="variability/epochs.parquet",
        record="variability/lightcurves.json",
        page="variability/index.html",
    params:
        variability=CONFIG.variability.model_dump(mode="json"),
        others=lambda wildcards, input: other_photometry(CONFIG.products, input),
        gave_up=lambda wildcards, output: frame.given_up(output.curves),
    log:
        "logs/lightcurves/all.log",
    benchmark:
        "benchmarks/lightcurves/all.tsv"
    threads: 2
    retries: RESTARTS
    resources:
        **needs("lightcurves", NIGHT, CONFIG),
    conda:
        "../envs/pipeline.yaml"
    script:
        "../scripts/lightcurves.py"
