"""`contimg inspect`: what raw files hold, what of it is odd, and which reader takes them."""

from __future__ import annotations

import argparse
import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

from contimg.core.errors import InputError
from contimg.core.names import tile_name
from contimg.index.subband import SubbandHeader, parse_name, polarization_words


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `contimg inspect`."""
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="raw UVH5 files")
    parser.add_argument("--json", action="store_true", help="print a JSON list, one entry a file")


def run(args: argparse.Namespace) -> int:
    """Print what each file is; 1 if one of them is taken by no reader."""
    for path in args.files:
        if path.is_dir():
            raise InputError(f"{path}: a directory; give files: contimg inspect {path}/*.hdf5")
        if not path.exists():
            raise InputError(f"{path}: no such file; `contimg tiles` lists what is in `incoming`")
    found = [look(path) for path in args.files]
    if args.json:
        print(json.dumps(found, indent=1))
    else:
        for entry in found:
            print("\n".join(lines(entry)))
    return int(any(entry["reader"] is None for entry in found))


def look(path: Path) -> dict[str, Any]:
    """What a raw file is: `reader` (own, pyuvdata or None), `why` not ours or none, `phased`, `odd`, `header`."""
    from contimg.index import raw
    from contimg.index.groups import GROWING

    entry: dict[str, Any] = {
        "file": str(path),
        "reader": None,
        "why": None,
        "phased": None,
        "odd": [],
        "header": None,
    }
    name = parse_name(path.name)
    if name is None:
        entry["odd"].append(
            "its name is no raw file's (YYYY-MM-DDTHH:MM:SS_sbNN.hdf5): the index passes over it"
        )
    elif name.incomplete:
        finished = path.with_name(path.name.replace(name.suffix, "")).exists()
        beside = "; the finished file is beside it" if finished else ""
        entry["odd"].append(f"by its name it {GROWING}: the index passes over it{beside}")
    try:
        header = raw.read_header(path)
        entry["odd"].extend(header.odd)
        entry["header"] = asdict(header)
        layout = raw.read_layout(path)
    except InputError as error:
        entry["why"] = str(error).removeprefix(f"{path}: ")
        return entry
    entry["reader"] = "own" if layout.foreign is None else "pyuvdata"
    entry["why"] = layout.foreign
    entry["phased"] = "hour angle 0 at the pointing" if layout.phased is None else layout.phased.words
    return entry


def lines(entry: dict[str, Any]) -> list[str]:
    """The same for people."""
    said = [entry["file"]]
    if entry["header"] is not None:
        header = SubbandHeader(**entry["header"])
        width_hz, low_hz = header.channel_width_hz, header.freq_low_hz
        high_hz = max(header.freq_first_hz, header.freq_last_hz)
        said += [
            f"  tile       {tile_name(header.start_mjd)}: {header.n_times} integrations of "
            f"{header.integration_s:.6g} s",
            f"  band       {(low_hz - width_hz / 2) / 1e6:.3f} to {(high_hz + width_hz / 2) / 1e6:.3f} MHz: "
            f"{header.n_channels} channels of {width_hz / 1e3:.6g} kHz, polarisations "
            f"{polarization_words(header.polarizations)}",
            f"  array      {header.n_antennas_data} antennas and {header.n_baselines} baselines in the file, at "
            f"longitude {header.longitude_deg:.4f}, latitude {header.latitude_deg:.4f} deg, {header.height_m:.0f} m",
            f"  pointing   declination {math.degrees(header.dec_rad):.4f} deg",
        ]
    if entry["phased"] is not None:
        said.append(f"  phased to  {entry['phased']}")
    if entry["reader"] is None:
        said.append(f"  reader     none: {entry['why']}")
    else:
        slower = "" if entry["why"] is None else f", slower: {entry['why']}"
        said.append(f"  reader     {entry['reader']}{slower}")
    return [*said, *(f"  odd        {words}" for words in entry["odd"])]
