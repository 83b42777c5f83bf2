"""What pyuvdata makes of the same raw files, told where they are phased: the oracle of the conversion tests."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from casacore import tables


def uvdata_ms(
    files: Sequence[Path], ra_rad: float, dec_rad: float, out: Path, *, fringe_stopped: bool = True
) -> None:
    """Read, phase to an ICRS direction and write with pyuvdata, its checks of these files off.

    With `fringe_stopped` false the header's word "drift" is taken as it stands: raw correlations.
    """
    from pyuvdata import UVData

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        parts = []
        for path in files:
            part = UVData()
            part.read_uvh5(path, run_check=False, fix_old_proj=False)
            part.uvw_array = part.uvw_array.astype(np.float64)
            part.reorder_freqs(channel_order="freq", run_check=False)
            parts.append(part)
        parts.sort(key=lambda part: part.freq_array.min())
        data = parts[0]
        if len(parts) > 1:
            data = data.fast_concat(parts[1:], "freq", run_check=False)
        data.set_lsts_from_time_array()
        if fringe_stopped:
            _say_fringe_stopped(data)
        data.phase(ra=ra_rad, dec=dec_rad, phase_frame="icrs", cat_name="centre", use_ant_pos=True)
        data.telescope.mount_type = ["alt-az"] * data.telescope.Nants
        data.write_ms(str(out), run_check=False, force_phase=False, clobber=True)


def _say_fringe_stopped(data) -> None:
    """Make every integration phased to hour angle 0 (apparent RA = its sidereal time) at the pointing."""
    [centre] = data.phase_center_catalog
    dec = float(np.atleast_1d(data.extra_keywords["phase_center_dec"])[0])
    data.phase_center_catalog[centre] = {
        "cat_name": "meridian",
        "cat_type": "driftscan",
        "cat_lon": 0.0,
        "cat_lat": np.pi / 2,
        "cat_frame": "altaz",
        "cat_epoch": None,
        "cat_times": None,
        "cat_pm_ra": None,
        "cat_pm_dec": None,
        "cat_dist": None,
        "cat_vrad": None,
        "info_source": "user",
    }
    data.phase_center_app_ra = data.lst_array.copy()
    data.phase_center_app_dec = np.full(data.Nblts, dec)
    data.phase_center_frame_pa = np.zeros(data.Nblts)
    data.set_uvws_from_antenna_positions(update_vis=False)


def columns(ms: Path) -> dict[str, np.ndarray]:
    """Main columns of a Measurement Set in the order of (time, antenna 1's name, antenna 2's name).

    Antennas are told apart by name, as two writers may number them differently.
    """
    with tables.table(f"{ms}/ANTENNA", ack=False) as table:
        names = np.array(table.getcol("NAME"))
        itrf = table.getcol("POSITION")
    with tables.table(f"{ms}/SPECTRAL_WINDOW", ack=False) as table:
        freq_hz = table.getcell("CHAN_FREQ", 0)
    with tables.table(f"{ms}/POLARIZATION", ack=False) as table:
        correlations = table.getcell("CORR_TYPE", 0)
    with tables.table(f"{ms}/FIELD", ack=False) as table:
        phase_dir = table.getcell("PHASE_DIR", 0)[0]
    with tables.table(str(ms), ack=False) as table:
        found = {name: table.getcol(name) for name in ("TIME", "ANTENNA1", "ANTENNA2", "UVW", "DATA", "FLAG")}
    first, second = names[found.pop("ANTENNA1")], names[found.pop("ANTENNA2")]
    millisecond = np.round(found["TIME"] * 1e3).astype(np.int64)
    order = np.lexsort((second, first, millisecond))
    found = {name: values[order] for name, values in found.items()}
    return {
        **found,
        "names": np.stack([first[order], second[order]], axis=1),
        "itrf": dict(zip(names, itrf, strict=True)),
        "freq_hz": freq_hz,
        "correlations": correlations,
        "phase_dir": phase_dir,
    }
