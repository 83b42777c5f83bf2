"""Calibrator transits to caltables."""


rule calibrate_transit:
    input:
        lambda wildcards: NIGHT.files(wildcards.tile, wildcards.calibrator),
    output:
        ms=directory("ms/calibrators/{date}/{tile}_{calibrator}.ms"),
        sidecar="ms/calibrators/{date}/{tile}_{calibrator}.json",
        tables=report(
            directory("cal/{date}/{tile}_{calibrator}"),
            patterns=["{picture}.png"],
            caption="../docs/captions/caltable.rst",
            category="Calibrators",
        ),
    params:
        **RUN.settings["calibrate_transit"],
        slots=lambda wildcards: NIGHT.slots(wildcards.tile, wildcards.calibrator),
        calibrator=lambda wildcards, output: vars(NIGHT.transit(output.tables).calibrator),
        gave_up=lambda wildcards, output: frame.given_up(output.tables),
    log:
        "logs/calibrate_transit/{date}/{tile}_{calibrator}.log",
    benchmark:
        "benchmarks/calibrate_transit/{date}/{tile}_{calibrator}.tsv"
    threads: RUN.threads.tile
    retries: RESTARTS
    resources:
        **needs("calibrate_transit", NIGHT, CONFIG),
    conda:
        "../envs/casa.yaml"
    wildcard_constraints:
        tile=NIGHT.retired.made_from_raw,
    priority: 1  # the images of its hours wait for it, and it reads raw files only: first, while tiles are converted
    script:
        "../scripts/calibrate_transit.py"
