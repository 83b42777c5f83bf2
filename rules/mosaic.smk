"""Tile images to mosaics: sidereal windows of a strip, and one centred on a calibrator's transit."""


rule mosaic_window:
    input:
        images=lambda wildcards: NIGHT.mosaic_images(names.window_dir(wildcards.date, wildcards.mosaic)),
        verdicts=lambda wildcards: NIGHT.mosaic_gates(names.window_dir(wildcards.date, wildcards.mosaic)),
    output:
        report(
            directory("mosaics/{date}/{mosaic}"),
            patterns=["{picture}.png"],
            caption="../docs/captions/mosaic.rst",
            category="Mosaics",
        ),
    params:
        **RUN.settings["mosaic_window"],
        window=lambda wildcards, output: vars(NIGHT.window(output[0])),
        gave_up=lambda wildcards, output: frame.given_up(output[0]),
    log:
        "logs/mosaic_window/{date}/{mosaic}.log",
    benchmark:
        "benchmarks/mosaic_window/{date}/{mosaic}.tsv"
    threads: RUN.threads.mosaic
    retries: RESTARTS
    resources:
        **needs("mosaic_window", NIGHT, CONFIG),
    conda:
        "../envs/pipeline.yaml"
    wildcard_constraints:
        date=NIGHT.retired.dates,
    script:
        "../scripts/mosaic_window.py"


use rule mosaic_window as mosaic_transit with:
    input:
        images=lambda wildcards: NIGHT.mosaic_images(names.transit_dir(wildcards.calibrator, wildcards.date)),
        verdicts=lambda wildcards: NIGHT.mosaic_gates(names.transit_dir(wildcards.calibrator, wildcards.date)),
    output:
        report(
            directory("mosaics/{calibrator}/{date}"),
            patterns=["{picture}.png"],
            caption="../docs/captions/mosaic.rst",
            category="Mosaics",
        ),
    log:
        "logs/mosaic_transit/{calibrator}/{date}.log",
    benchmark:
        "benchmarks/mosaic_transit/{calibrator}/{date}.tsv"
    wildcard_constraints:
        calibrator=NIGHT.retired.calibrators,
