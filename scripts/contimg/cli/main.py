"""The command `contimg`: the tools beside the workflow.

Whatever a subcommand needs is imported when that subcommand is used.
"""

from __future__ import annotations

import argparse
import difflib
import importlib
import os
import re
import signal
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

from contimg import __version__
from contimg.core.errors import ContimgError

# Subcommands: help and example. Each is the module of its name beside this one, with add_arguments and run.
_COMMANDS = {
    "config": (
        "show the configuration of a run: files and --config merged, paths absolute, the quality tier filled in",
        "contimg config --configfile night.yaml --config start=2025-10-28 end=2025-10-31",
    ),
    "firstlight": (
        "look at raw files before anything else: does what the pipeline takes for granted hold, and what to set if not",
        "contimg firstlight /data/raw --catalog nvss.fits --output firstlight",
    ),
    "tiles": (
        "list the tiles of a range: complete or left out and why, with the calibrators whose transits each may use",
        "contimg tiles --config incoming=/data/raw start=2025-10-30 end=2025-10-31",
    ),
    "strips": (
        "tell for every strip of the sky how it is calibrated: by which calibrator, or on the catalogue's sources",
        "contimg strips --config catalog=nvss.fits",
    ),
    "inspect": (
        "say what raw files hold, what of it is odd, and which reader takes them",
        "contimg inspect /data/raw/2025-10-30T13:00:00_sb00.hdf5",
    ),
    "simulate": (
        "write raw files of a simulated night, and the truth beside them",
        "contimg simulate --preset demo demo/incoming",
    ),
    "simulate-lightcurves": (
        "write photometry of many simulated nights, and the truth beside it (also: simulate lightcurves)",
        "contimg simulate lightcurves --days 365 --n-sources 300 demo/year",
    ),
    "compare": (
        "compare two images with each other; or, with --truth, a simulated night's mosaics with what was simulated",
        "contimg compare --truth demo/incoming/truth.json --products demo/products\n  contimg compare "
        "products/images/2025-10-30/2025-10-30T13:00:00 night.try/images/2025-10-30/2025-10-30T13:00:00",
    ),
    "plan": (
        "plan a run: tiles, transits, mosaics, jobs, time and disk, as a page and a JSON file",
        "contimg plan --config incoming=/data/raw products=/data/products start=2025-10-30 end=2025-10-31",
    ),
    "report": (
        "report what a run has come to: failures by cause, numbers at a glance, times against the plan",
        "contimg report --config incoming=/data/raw products=/data/products start=2025-10-30 end=2025-10-31",
    ),
    "sources": (
        "list the sources of an image with their fluxes and errors, or write them (CSV, VOTable, parquet, regions)",
        "contimg sources /data/products/mosaics/2025-10-30/0830+55 --top 20",
    ),
    "measure": (
        "measure the flux, or its upper limit, at places of an image",
        "contimg measure /data/products/mosaics/2025-10-30/0830+55 --at '08h27m +55d'",
    ),
    "verify": (
        "check whether products and their inputs are still what they were",
        "contimg verify /data/products/images/2025-10-30/2025-10-30T13:00:00",
    ),
    "rerun": (
        "print the commands and the environment that make a product once more",
        "contimg rerun /data/products/images/2025-10-30/2025-10-30T13:00:00",
    ),
    "try": (
        "make a product with other settings, beside the night's and sharing what they do not touch",
        "contimg try /data/products/images/2025-10-30/2025-10-30T13:00:00 --set imaging='{robust: 0}'",
    ),
    "transits": (
        "list a calibrator's transits, with their data and what has been made of them",
        "contimg transits --calibrator 0834+555 --from 2025-10-28 --to 2025-10-31",
    ),
    "unattended": (
        "wait for a calibrator's transit, make and publish its mosaic, print where it is",
        "contimg unattended --calibrator 0834+555 --timespan-minutes 60 --configfile night.yaml",
    ),
    "retention": (
        "show what raw files and Measurement Sets may go, and what holds the rest; with --apply, let them go",
        "contimg retention --configfile night.yaml --config start=2025-10-28 end=2025-10-31",
    ),
    "withdraw": (
        "take back a published version, leaving a record of why",
        "contimg withdraw mosaics/2025-10-30/0830+55 --reason 'gains of antenna 51 wrong' --products /data/products",
    ),
    "registry": (
        "build, back up, restore or check the registries of a products tree",
        "contimg registry check --products /data/products",
    ),
    "query": (
        "ask the registries: valid caltables, noisy tiles, products of a calibrator, what was rejected",
        "contimg query --products /data/products tables --at 2025-10-30T13:00:00 --dec 55",
    ),
    "lightcurve": (
        "print and plot the light curve of one source, with its neighbours",
        "contimg lightcurve J083454.9+553421 --products /data/products --plot curve.png",
    ),
    "diff": (
        "compare two versions of the light curves: which sources changed, and by how much",
        "contimg diff /data/old /data/products --page changes.html",
    ),
    "export": (
        "write light curves, measures of variability or epochs as VOTable, CSV, Parquet or FITS",
        "contimg export curves.vot --source J083454.9+553421 --products /data/products",
    ),
    "ese": (
        "search light curves for extreme scattering events: those of the tree, or any table",
        "contimg ese archive.csv --column mjd=TIME flux_jy=S --flux-unit mJy --output candidates.csv",
    ),
    "vet": (
        "say what becomes of a candidate for a scattering event, and why; a file of its own that no rerun touches",
        "contimg vet J083454.9+553421 dismissed --comment 'gain of antenna 51' --products /data/products",
    ),
    "retry": (
        "let the next run make again what ended with an error or was killed too often",
        "contimg retry --products /data/products",
    ),
    "serve": (
        "batches over REST, and pages of what the products tree holds",
        "contimg serve --config incoming=/data/raw products=/data/products",
    ),
    "token": (
        "make, list or revoke tokens: who may use the service, and for what",
        "contimg token add observer --role run",
    ),
    "batch": (
        "submit, list, show, follow, cancel or retry batches of a service",
        "contimg batch submit image 2025-10-30T13:00:00 --set robust=0 --wait",
    ),
    "watch": (
        "start the workflow for each tile and transit as it becomes complete on disk",
        "contimg watch --config incoming=/data/raw products=/data/products",
    ),
}

# Commands whose name is a word of Python: their modules.
_MODULES = {"try": "trial"}

# Commands that had another name once.
_RENAMED = {"mosaic": "unattended"}

# What users type that is the workflow's: the command that does it.
_ELSEWHERE = {
    "run": "snakemake --cores all --config start=2025-10-30 end=2025-10-31",
    "convert": "snakemake --cores all convert --config start=2025-10-30 end=2025-10-31",
    "calibrate": "snakemake --cores all calibrate --config start=2025-10-30 end=2025-10-31",
    "image": "snakemake --cores all images/2025-10-30/2025-10-30T13:00:00 (or image, for all of a range)",
    "publish": "snakemake --cores all publish --config start=2025-10-30 end=2025-10-31",
    "qa": "snakemake --cores all qa --config start=2025-10-30 end=2025-10-31",
    "status": "contimg report, or contimg query tiles",
    "mosaics": "contimg query --products /data/products mosaics",
    "flux": "contimg measure /data/products/mosaics/2025-10-30/0830+55 --at '08h27m +55d'",
    "help": "contimg --help",
}

_PAIR = re.compile(r"[a-z_]+=")


def main(argv: Sequence[str] | None = None) -> int:
    """Run a subcommand.

    Parameters
    ----------
    argv : sequence of str, optional
        The arguments without the program's name; by default those of the process.

    Returns
    -------
    int
        Exit status: 0, 1 where the subcommand's own verdict is bad, 2 for an error said in one line.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    if words[:2] == ["simulate", "lightcurves"]:
        words[:2] = ["simulate-lightcurves"]
    if words and words[0] in _RENAMED:
        now = _RENAMED[words[0]]
        print(f"contimg: `contimg {words[0]}` is called `contimg {now}` now", file=sys.stderr)
        words[0] = now
    parser = _parser(words[0] if words else "")
    if not words:
        parser.print_help(sys.stderr)
        return 2
    if not words[0].startswith("-") and words[0] not in _COMMANDS:
        print(f"contimg: there is no `contimg {words[0]}`; {_meant(words[0])}", file=sys.stderr)
        return 2
    args = parser.parse_args(words)
    run: Callable[[argparse.Namespace], int] = args.run
    try:
        return run(args)
    except ContimgError as error:
        print(f"contimg: error: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # who read our lines has read enough: `contimg tiles | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except OSError as error:
        if error.filename is None:
            raise
        print(f"contimg: error: {os.fspath(error.filename)}: {error.strerror}", file=sys.stderr)
        return 2


def _meant(word: str) -> str:
    """What a user who typed a command that is not there should type."""
    if word in _ELSEWHERE:
        return f"it is: {_ELSEWHERE[word]}"
    near = difflib.get_close_matches(word, [*_COMMANDS, *_ELSEWHERE], n=1)
    return f"did you mean `contimg {near[0]}`?" if near else "`contimg` lists the commands"


class _Parser(argparse.ArgumentParser):
    """Says in one line what is wrong with the words of a command, with an example of it."""

    def error(self, message: str) -> NoReturn:
        """Say it and end."""
        command = self.prog.split()[1] if " " in self.prog else ""
        example = _COMMANDS[command][1].partition("\n")[0] if command else "contimg --help"
        _, unknown, words = message.partition("unrecognized arguments: ")
        if unknown and all(_PAIR.match(word) for word in words.split()):
            message = f"found {words}; settings stand behind --config: --config {words}"
        self.exit(2, f"{self.prog}: error: {message}; for example: {example}\n")


def _parser(command: str) -> argparse.ArgumentParser:
    """Build the parser; only the subcommand that is used imports what brings its arguments."""
    parser = _Parser(
        prog="contimg",
        description="Tools beside the workflow. The workflow itself is run by snakemake.",
        epilog="`contimg COMMAND --help` explains a command.",
    )
    parser.add_argument("--version", action="version", version=f"contimg {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)

    for name, (text, example) in _COMMANDS.items():
        parts = commands.add_parser(
            name,
            help=text,
            description=f"{text[0].upper()}{text[1:]}.\n\nexample:\n  {example}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        if name == command:
            module = _MODULES.get(name, name.replace("-", "_"))
            implementation = importlib.import_module(f"contimg.cli.{module}")
            implementation.add_arguments(parts)
            parts.set_defaults(run=implementation.run)
    return parser


if __name__ == "__main__":
    sys.exit(main())
