"""What a run would do and cost: always made anew, from a dry run of everything."""


rule plan:
    params:
        cores=workflow.cores,
    log:
        "logs/plan.log",
    conda:
        "../envs/pipeline.yaml"
    script:
        "../scripts/plan.py"
