"""What Snakefile and SLURM see of a run."""
