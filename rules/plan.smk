"""What a run would do and cost: always made anew, from a dry run of everything."""


rule plan:
    log:
        "logs/plan.log",
    threads: 1024  # all that the run has: the engine scales it down
    conda:
        "../envs/pipeline.yaml"
    script:
        "../scripts/plan.py"
