"""What a run would do and cost: always made anew, from a dry run of everything."""

from snakemake.utils import available_cpu_count


rule plan:
    log:
        "logs/plan.log",
    threads: available_cpu_count()  # all that the run may have here: the engine scales it down to --cores
    resources:
        mem_mb=2000,
        disk_mb=50,
        runtime=15,
    conda:
        "../envs/pipeline.yaml"
    script:
        "../scripts/plan.py"
