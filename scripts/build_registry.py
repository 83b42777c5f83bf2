"""Build the registries of the whole products tree from its sidecars.

Input: the products of the run, so that it comes after them; what is read is every sidecar of the tree. Output:
`state/products.sqlite3` and `state/cal_registry.sqlite3`; what they replace is kept under `state/backups/`.
Settings: `registry`.
"""

from pathlib import Path

from contimg.registry.files import rebuild

counts = rebuild(Path(), keep=snakemake.params.backups)
Path(snakemake.log[0]).write_text(", ".join(f"{count} {what}" for what, count in counts.items()) + "\n")
