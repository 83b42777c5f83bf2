"""Raw subband files to Measurement Sets."""


rule convert_tile:
    input:
        lambda wildcards: NIGHT.files(wildcards.tile),
    output:
        ms=directory("ms/science/{date}/{tile}.ms"),
        sidecar="ms/science/{date}/{tile}.json",
    params:
        **RUN.settings["convert_tile"],
        slots=lambda wildcards: NIGHT.slots(wildcards.tile),
        gave_up=lambda wildcards: frame.given_up(names.science_ms(wildcards.tile)),
    log:
        "logs/convert_tile/{date}/{tile}.log",
    benchmark:
        "benchmarks/convert_tile/{date}/{tile}.tsv"
    threads: RUN.threads.tile
    retries: RESTARTS
    resources:
        **needs("convert_tile", NIGHT, CONFIG),
    conda:
        "../envs/pipeline.yaml"
    wildcard_constraints:
        tile=NIGHT.retired.made_from_raw,
    script:
        "../scripts/convert_tile.py"
