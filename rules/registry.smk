"""Sidecars to the registries."""


rule build_registry:
    input:
        # after what the same run publishes; what an earlier one published is read all the same
        lambda wildcards: NIGHT.registered(workflow.dag_settings.targets),
    output:
        # update: the job itself puts the new files in place of the old ones, which stay readable until then
        products=update("state/products.sqlite3"),
        caltables=update("state/cal_registry.sqlite3"),
    params:
        **RUN.settings["build_registry"],
        others=lambda wildcards, input: state_of_others(CONFIG.products, input),
    log:
        "logs/build_registry.log",
    benchmark:
        "benchmarks/build_registry.tsv"
    threads: 1
    resources:
        **needs("build_registry", NIGHT, CONFIG),
    conda:
        "../envs/pipeline.yaml"
    script:
        "../scripts/build_registry.py"
