"""`contimg lightcurve`: one source, printed and plotted, with its neighbours."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from contimg.cli.numbers import count
from contimg.core import names
from contimg.core.errors import InputError
from contimg.core.text import count_of

if TYPE_CHECKING:
    import pandas as pd


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `contimg lightcurve`."""
    from contimg.config.files import take_tree

    parser.add_argument("source", nargs="+", help="its name, or RA and Dec in degrees (ICRS)")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw it: PNG, PDF or SVG")
    parser.add_argument(
        "--neighbours",
        type=count(0, 1000),
        default=3,
        metavar="N",
        help="nearest sources shown (default: 3)",
    )
    parser.add_argument("--csv", action="store_true", help="every column, as comma-separated values")
    parser.add_argument(
        "--tiles",
        action="store_true",
        help="tile by tile, every 309 s: what the fits to the visibilities have of a bright source",
    )
    take_tree(parser)


def run(args: argparse.Namespace) -> int:
    """Print the light curve."""
    import pandas as pd

    from contimg.config.load import tree_of
    from contimg.variability import curves, lookup, tile_series
    from contimg.variability.plots import plot

    tree = tree_of(args)
    folder = tree / names.LIGHTCURVES
    if not (tree / names.VARIABILITY).is_file():
        raise InputError(
            f"{tree}: no light curves in it; make them: snakemake lightcurves, with a list of "
            "sources (catalog or photometry.sources)"
        )
    sources = pd.read_parquet(tree / names.VARIABILITY)
    name = lookup.resolve(sources, args.source)
    rows = curves.read_source(folder, name)
    tiles = tile_series.series(tree, rows) if args.tiles else None
    if args.csv:
        print((rows if tiles is None else tiles).to_csv(index=False), end="")
    elif tiles is not None:
        _show_tiles(name, tiles)
    else:
        _show(name, rows, sources, args.neighbours)
    if args.plot is not None:
        near = lookup.neighbours(sources, name, args.neighbours)
        beside = {
            f"{other} ({distance / 60.0:.1f}')": curves.read_source(folder, other)
            for other, distance in zip(near["source_id"], near["distance_arcsec"], strict=True)
        }
        plot(args.plot, name, rows, beside, tiles)
    return 0


def _show(name: str, rows: pd.DataFrame, sources: pd.DataFrame, neighbours: int) -> None:
    """Print the source, its points and its neighbours."""
    from contimg.photometry.table import flag_words
    from contimg.variability import lookup

    own = sources[sources["source_id"] == name].iloc[0]
    print(
        f"{name}  RA {own['ra_deg']:.5f}  Dec {own['dec_deg']:+.5f}  {count_of(int(own['n_epochs']), 'epoch')}, "
        f"{count_of(len(rows), 'point')}"
    )
    measures = (
        f"η {own['eta']:.2f} ({own['eta_sigma']:+.1f} σ)  "
        f"V {own['v']:.3f} ({own['v_sigma']:+.1f} σ)  V_s {own['vs_max']:.1f}  m {own['m_max']:.2f}  "
        f"modulation {100 * own['modulation']:.1f} %"
        if own["n_epochs"] > 1
        else "how much it varies takes two epochs"
    )
    print(f"median {1e3 * own['median_flux_jy']:.3f} mJy  {measures}")
    line = "{:>11}  {:24}  {:>9}  {:>7}  {:>9}  {:>7}  {:>6}  {:4}  {}".format
    print(line("mjd", "mosaic", "flux", "error", "on scale", "error", "zero", "used", "flags") + "   (mJy)")
    for row in rows.to_dict("records"):
        columns = ("flux_jy", "flux_err_jy", "flux_norm", "flux_norm_err")
        cells = [f"{1e3 * row[column]:.3f}" for column in columns]
        zero = f"{row['zero_point']:.3f}" if row["normalised"] else "none"
        used = "yes" if row["used"] else "no"
        print(line(f"{row['mjd']:.4f}", row["mosaic"], *cells, zero, used, flag_words(int(row["flags"]))))
    near = lookup.neighbours(sources, name, neighbours)
    if len(near):
        print("neighbours:")
    for other in near.to_dict("records"):
        print(
            f"  {other['source_id']}  {other['distance_arcsec'] / 60.0:.1f}'  "
            f"{1e3 * other['median_flux_jy']:.2f} mJy  η {other['eta']:.2f}  V {other['v']:.3f}"
        )


def _show_tiles(name: str, tiles: pd.DataFrame) -> None:
    """Print what each tile's fit has of the source."""
    from contimg.variability.tile_series import BANDS

    line = "{:>11}  {:19}  {:>9}  {:>7}  {:>9}  {:>7}  {:>6}  {:>6}  {:>8}  {:>8}  {:>8}  {:>8}".format
    heads = ("flux", "error", "on scale", "error", "slope", "error", *BANDS)
    print(line("mjd", "tile", *heads) + "   (mJy)")
    for row in tiles.to_dict("records"):
        columns = ("flux_jy", "flux_err_jy", "flux_norm", "flux_norm_err")
        cells = [f"{1e3 * row[column]:.3f}" for column in columns]
        cells += [_number(row[column], 1.0, 2) for column in ("band_slope", "band_slope_err")]
        cells += [_number(row[f"{band}_jy"], 1e3, 2) for band in BANDS]
        print(line(f"{row['mjd']:.5f}", row["tile"], *cells))
    print(f"{name}: {len(tiles)} tiles whose fit to the visibilities has it (docs/photometry.md)")


def _number(value: float | None, factor: float, digits: int) -> str:
    return "" if value is None or value != value else f"{factor * value:.{digits}f}"
