"""Photometry of all nights to light curves, what varies in them, and what may be scattering events."""


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
        **RUN.settings["lightcurves"],
        # of `wildcards` alone: what follows from input is not compared with the last run's
        others=lambda wildcards: other_photometry(CONFIG.products, NIGHT.photometry()),
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


rule ese_search:
    input:
        curves="variability/lightcurves.parquet",
    output:
        candidates="variability/ese_candidates.csv",
        record="variability/ese_candidates.json",
        pages=directory("variability/candidates"),
        # what an earlier search found is where the next goes on; notices are kept until something changes
        scores=update("variability/ese_scores.parquet"),
        notices=update("variability/notices.json"),
    params:
        **RUN.settings["ese_search"],
        gave_up=lambda wildcards, output: frame.given_up(output.candidates),
    log:
        "logs/ese_search/all.log",
    benchmark:
        "benchmarks/ese_search/all.tsv"
    threads: 2
    retries: RESTARTS
    resources:
        **needs("ese_search", NIGHT, CONFIG),
    conda:
        "../envs/pipeline.yaml"
    script:
        "../scripts/ese_search.py"
