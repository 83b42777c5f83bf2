# The commands of daily use. `make` alone lists them.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help demo test setup wsclean lint unit bench scorecard lock clean

bin := .venv/bin

help:  ## list these commands
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo:  ## a small simulated night, from raw files to mosaics, verdicts and light curves, compared with the truth
	@tools/demo.sh

test: setup wsclean  ## install what the tests need and run them all, lint beside them
	@tools/test.sh

setup:  ## make .venv from requirements.lock (PYTHON=/path/to/python3.11 chooses the interpreter)
	@tools/setup.sh

wsclean:  ## add WSClean from Debian, if you may; without it CASA tclean images
	@tools/wsclean.sh

lint: setup  ## ruff, snakefmt, snakemake --lint, codespell, mypy
	@tools/lint.sh

unit: setup  ## the fast tests only
	@tools/test.sh tests/unit

bench: setup wsclean  ## what a full tile costs, beside its rivals (STAGES="convert image", RIVALS=0)
	$(bin)/python benchmarks/bench.py $(if $(STAGES),--stages $(STAGES)) $(if $(RIVALS),--rivals $(RIVALS))

scorecard: setup wsclean  ## simulated nights against their truth: docs/scorecard.md (SIZE=quick)
	$(bin)/python benchmarks/scorecard.py $(if $(SIZE),--size $(SIZE))
	$(bin)/python benchmarks/ese_truth.py $(if $(SIZE),--size $(SIZE))
	$(bin)/python benchmarks/fault_matrix.py

lock:  ## requirements.lock anew from pyproject.toml (UPGRADE=1: newest versions)
	@tools/lock.sh

clean:  ## remove what the demo, the tests and the benchmarks leave behind (.venv stays)
	rm -rf demo bench .pytest_cache .mypy_cache .ruff_cache build scripts/*.egg-info
	find scripts tests benchmarks -name __pycache__ -prune -exec rm -rf {} + 2>/dev/null || true
