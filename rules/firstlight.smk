"""Whether raw files bear out what the pipeline takes for granted: always looked at anew."""


rule firstlight:
    log:
        "logs/firstlight.log",
    threads: 1
    resources:
        mem_mb=4000,
        disk_mb=50,
        runtime=30,
    conda:
        "../envs/pipeline.yaml"
    script:
        "../scripts/firstlight.py"
