"""Raw subband files to Measurement Sets."""


rule convert_tile:
    input:
        lambda wildcards: NIGHT.files(wildcards.tile),
    output:
        ms=directory("ms/science/{date}/{tile}.ms"),
        sidecar="ms/science/{date}/{tile}.json",
    params:
        slots=lambda wildcards: NIGHT.slots(wildcards.tile),
        flagging=CONFIG.flagging.model_dump(mode="json"),
        gave_up=lambda wildcards: frame.given_up(names.science_ms(wildcards.tile)),
    log:
        "logs/convert_tile/{date}/{tile}.log",
    benchmark:
        "benchmarks/convert_tile/{date}/{tile}.tsv"
    threads: 2
    retries: RESTARTS
    resources:
        mem_mb=needs("convert_tile", "mem_mb", NIGHT, scratch=CONFIG.scratch),
        disk_mb=needs("convert_tile", "disk_mb", NIGHT),
        runtime=needs("convert_tile", "runtime", NIGHT),
        scratch=CONFIG.scratch or "",
        scratch_full=CONFIG.scratch_full,
        scratch_mb=needs("convert_tile", "scratch_mb", NIGHT),
        attempt=lambda wildcards, attempt: attempt,
    conda:
        "../envs/pipeline.yaml"
    wildcard_constraints:
        tile=NIGHT.retired.made_from_raw,
    script:
        "../scripts/convert_tile.py"
