"""What a user would do instead, and what the machine allows at best; each a process of its own.

    python tasks.py NAME JSON

The last line that a task prints may be a JSON object with `seconds` (of the part that counts) and `note`.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

BENCHMARKS = Path(__file__).resolve().parents[1]
"""Where `benchlib` is, which a script in it does not find by itself."""

SPEED_OF_LIGHT_M_S = 299792458.0
Said = dict[str, Any]


def copy_with_sync(files: list[str], out: str) -> Said:
    """Copy files and force them to disk."""
    folder = Path(out)
    folder.mkdir(parents=True)
    for name in files:
        target = folder / Path(name).name
        shutil.copyfile(name, target)
        with target.open("rb") as handle:
            os.fsync(handle)
    return {"note": f"{sum(Path(name).stat().st_size for name in files) / 1e9:.2f} GB"}


def pyuvdata(files: list[str], ra_rad: float, dec_rad: float, out: str) -> Said:
    """Read, sort by frequency, phase and write a Measurement Set."""
    sys.path.insert(0, str(BENCHMARKS))
    from benchlib.uvdata_oracle import uvdata_ms

    uvdata_ms([Path(name) for name in files], ra_rad, dec_rad, Path(out))
    return {}


def calibrator_ms(
    files: list[str], tile: str, name: str, ra_deg: float, dec_deg: float, out: str, threads: int
) -> Said:
    """Prepare the calibration rival: all data, phased to the calibrator."""
    from contimg.convert.options import FlaggingOptions
    from contimg.convert.tile import PhaseCentre, convert_tile

    convert_tile(
        slots(files),
        tile,
        Path(out),
        phase_centre=PhaseCentre(name, ra_deg, dec_deg),
        flagging=FlaggingOptions(aoflagger=False),
        threads=threads,
    )
    return {}


def calibrated_ms(ms: str, tables: str, out: str, threads: int) -> Said:
    """Prepare the imaging rivals: all channels, calibrated."""
    from contimg.gains.apply import apply_tile

    apply_tile(Path(ms), Path(tables), Path(out), freq_average=1, threads=threads)
    return {}


def casa_calibration(ms: str, refant: str, folder: str) -> Said:
    """Delays, phases, bandpass and gains on the full data, and applycal."""
    import casatasks

    vis: dict[str, Any] = {"vis": ms, "refant": refant}
    table = {name: str(Path(folder, name)) for name in ("K", "P", "B", "G")}
    spent = {}

    def timed(name: str, task: Callable[..., Any], **arguments: Any) -> None:
        began = time.perf_counter()
        task(**arguments)
        spent[name] = time.perf_counter() - began

    common = {**vis, "uvrange": ">1klambda", "minblperant": 4}
    timed("K", casatasks.gaincal, **vis, caltable=table["K"], gaintype="K", solint="inf", minsnr=3)
    timed(
        "phases", casatasks.gaincal, **common, caltable=table["P"], gaintype="G", calmode="p", solint="60s", minsnr=3,
        gaintable=[table["K"]],
    )  # fmt: skip
    timed(
        "bandpass", casatasks.bandpass, **common, caltable=table["B"], bandtype="B", solint="inf", minsnr=5,
        gaintable=[table["K"], table["P"]],
    )  # fmt: skip
    timed(
        "gains", casatasks.gaincal, **common, caltable=table["G"], gaintype="G", calmode="ap", solint="inf", minsnr=3,
        gaintable=[table["K"], table["B"]],
    )  # fmt: skip
    timed(
        "applycal",
        casatasks.applycal,
        vis=ms,
        gaintable=[table[k] for k in ("K", "B", "G")],
        flagbackup=False,
    )
    return {"note": ", ".join(f"{name} {value:.0f} s" for name, value in spent.items())}


def tclean(ms: str, name: str, size: tuple[int, int], cell_arcsec: float, robust: float, niter: int) -> Said:
    """CASA's imager with one set of settings."""
    import casatasks

    casatasks.tclean(
        vis=ms,
        imagename=name,
        datacolumn="data",
        imsize=list(size),
        cell=f"{cell_arcsec}arcsec",
        weighting="briggs",
        robust=robust,
        niter=niter,
        uvrange=">1klambda",
        gridder="standard",
        deconvolver="hogbom",
    )
    return {}


def ducc_pass(ms: str, size: tuple[int, int], cell_arcsec: float, threads: int) -> Said:
    """Grid all visibilities once: what every dirty image, and so every major iteration, costs twice."""
    import ducc0
    import numpy as np
    from casacore import tables

    with tables.table(f"{ms}/SPECTRAL_WINDOW", ack=False) as window:
        freq_hz = window.getcell("CHAN_FREQ", 0)
    with tables.table(ms, ack=False) as table:
        uvw = table.getcol("UVW")
        vis = np.empty((len(uvw), len(freq_hz)), np.complex64)
        for start in range(0, len(uvw), 4096):
            data = table.getcol("DATA", start, 4096)
            vis[start : start + len(data)] = 0.5 * (data[..., 0] + data[..., -1])
    cell = np.radians(cell_arcsec / 3600)
    began, cpu = time.perf_counter(), time.process_time()
    ducc0.wgridder.vis2dirty(
        uvw=uvw, freq=freq_hz, vis=vis, npix_x=size[0], npix_y=size[1], pixsize_x=cell, pixsize_y=cell, epsilon=1e-4,
        do_wgridding=True, nthreads=threads,
    )  # fmt: skip
    return {
        "seconds": time.perf_counter() - began,
        "cpu_s": time.process_time() - cpu,
        "note": f"{vis.size / 1e6:.0f} million visibilities onto {size[0]} x {size[1]}; reading not counted",
    }


def slots(files: list[str]) -> list[Any]:
    """The subband slots of a tile's files, ascending in frequency."""
    from contimg.index import uvh5
    from contimg.index.tile import Slot

    found = []
    for path in files:
        header = uvh5.read_header(path)
        found.append(Slot(path, header.freq_low_hz, header.n_channels, header.channel_width_hz))
    return sorted(found, key=lambda slot: slot.freq_low_hz)


TASKS: dict[str, Callable[..., Said]] = {
    task.__name__: task
    for task in (copy_with_sync, pyuvdata, calibrator_ms, calibrated_ms, casa_calibration, tclean, ducc_pass)
}


def main() -> None:
    """Do one task and print what it says."""
    said = TASKS[sys.argv[1]](**json.loads(sys.argv[2]))
    print(json.dumps(said))


if __name__ == "__main__":
    main()
