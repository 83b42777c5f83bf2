"""Sixteen subband files become one Measurement Set: phased to one direction, flagged, written once.

Raw visibilities are fringe-stopped: each integration is phased to (hour angle 0, pointing declination). They are
brought to one ICRS phase centre by the *difference* between the baseline's w toward the new centre and its w
toward (hour angle 0, declination), in double precision from antenna positions (the uvw of the files are too
coarse and are not used).

The tile is streamed: one thread reads a subband's integration ahead, others rotate it into its place
(`contimg.convert.rotate`), and a whole integration is written at a time. Each works under one of `threads` permits, so
that no more are ever busy than the job was given. Only the flags, one byte a visibility, stay in memory for
`contimg.convert.flag`, which reads the visibilities back once, by baselines.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from contimg.convert import rotate
from contimg.convert.flag import Flagger
from contimg.convert.flag_shape import NoiseShape
from contimg.convert.rows import FileRows, antennas_of, require_same, rows_of, w_of_files
from contimg.core.constants import MJD_EPOCH_JD, SECONDS_PER_DAY
from contimg.core.errors import InputError
from contimg.index import raw, uvh5
from contimg.index.spares import faults_of
from contimg.ms.meta import MsMeta
from contimg.ms.noise import NOISE_KEYWORD, SUBBANDS_KEYWORD
from contimg.ms.sets import CORRELATIONS, MsWriter, verify
from contimg.telescope import geometry

if TYPE_CHECKING:
    from contimg.convert.options import FlaggingOptions
    from contimg.index.foreign import ForeignData
    from contimg.index.groups import Reader
    from contimg.index.tile import Slot

logger = logging.getLogger(__name__)
READ_AHEAD = 8
"""Subbands of one integration that are read before they are needed (6 MB each, full size)."""
UNIFORM_HZ = 0.1
"""Channels this close to equidistant are rotated by recurrence: on 1 km of w the phase is off by < 5e-6 rad."""
MERIDIAN = "meridian"
"""Name of the field that is phased to the meridian at the tile's mid-time."""


@dataclass(frozen=True)
class PhaseCentre:
    """Where a Measurement Set is phased to."""

    name: str
    ra_deg: float  # ICRS
    dec_deg: float  # ICRS


@dataclass(frozen=True)
class _Subband:
    """One slot of the band: its place among the channels, and its file if there is one."""

    path: str | None
    first_channel: int
    freq_file_hz: NDArray[np.float64]  # (nchan,) in file order; ascending where there is no file
    descending: bool
    uniform: bool
    rows: FileRows | None = None  # of the file's baselines; None where there is no file

    @property
    def channels(self) -> slice:
        return slice(self.first_channel, self.first_channel + len(self.freq_file_hz))


@dataclass(frozen=True)
class _Plan:
    """What the headers say about the tile."""

    layout: uvh5.Layout  # of the first file: all agree in what is used of it
    subbands: tuple[_Subband, ...]  # ascending in frequency
    freq_hz: NDArray[np.float64]
    corr_source: NDArray[np.int64]  # (ncorr,) polarisation in the file of each correlation
    corr_source_swapped: NDArray[np.int64]  # the same where the antennas change places
    correlations: tuple[int, ...]
    ant1: NDArray[np.int64]  # (nbl,) index into the antenna table, <= ant2
    ant2: NDArray[np.int64]


def convert_tile(
    tile_slots: Sequence[Slot],
    tile: str,
    out_ms: Path,
    *,
    phase_centre: PhaseCentre | None,
    flagging: FlaggingOptions,
    threads: int,
) -> dict[str, Any]:
    """Convert one tile into a flagged, uncalibrated Measurement Set.

    Parameters
    ----------
    tile_slots
        The subband slots of the strip's channel grid, ascending in frequency; a slot without a file is zeros,
        flagged.
    tile
        The tile's name.
    out_ms
        Where to write; nothing may be there. The caller renames it.
    phase_centre
        Where to phase to; None: the meridian at mid-time, at the pointing declination.
    flagging
        What to flag.
    threads
        How many threads (and flagging processes) may run.

    Returns
    -------
    dict
        Metrics for the sidecar: flag fractions, dead antennas, bytes, seconds; and ``rejected``, the reason why the
        data cannot be used or None. Unusable data still make a valid Measurement Set, all flagged.

    Raises
    ------
    InputError
        A file cannot be read or does not belong with the others.
    """
    began = time.perf_counter()
    seconds: dict[str, float] = {}
    plan = _plan(tile_slots)
    meta = _meta(plan, tile, phase_centre)
    present = np.zeros(len(meta.freq_hz), dtype=bool)
    for subband in plan.subbands:
        present[subband.channels] = subband.path is not None
    with ExitStack() as stack:
        flagger = stack.enter_context(Flagger(meta, flagging, present, threads))
        writer = stack.enter_context(MsWriter(out_ms, meta))
        seconds["prepare"] = time.perf_counter() - began
        noise = NoiseShape(meta, [subband.channels for subband in plan.subbands])
        samples = _stream(plan, meta, writer, flagger.flags, noise, threads)
        noise_shape = noise.result()
        seconds["rotate_and_write"] = time.perf_counter() - began - sum(seconds.values())
        report = flagger.run(writer.read_baselines, noise_shape)
        seconds["flag"] = time.perf_counter() - began - sum(seconds.values())
        for i in range(meta.n_times):
            writer.write_flag(i, flagger.flags[i])
            writer.write_weight(i, (report.weight[i] * samples[i]).astype(np.float32))
        writer.write_history(report.lines)
        writer.write_keyword(NOISE_KEYWORD, noise_shape.astype(np.float32))
        first = [subband.first_channel for subband in plan.subbands]
        writer.write_keyword(SUBBANDS_KEYWORD, np.array([*first, len(meta.freq_hz)], dtype=np.int32))
    verify(out_ms, meta)
    seconds["finish"] = time.perf_counter() - began - sum(seconds.values())
    files = [Path(subband.path) for subband in plan.subbands if subband.path is not None]
    return {
        "rejected": report.rejected,
        **report.metrics,
        "n_subbands": len(files),
        "read_by_pyuvdata": _foreign(plan),
        "phased_in_files": "meridian" if plan.layout.phased is None else plan.layout.phased.words,
        "n_antennas": len(np.unique([meta.ant1, meta.ant2])),
        "shape": list(meta.shape),
        "phase_centre": {
            "name": meta.field_name,
            "ra_deg": float(np.degrees(meta.phase_ra_rad)),
            "dec_deg": float(np.degrees(meta.phase_dec_rad)),
        },
        "pointing": _pointing(meta, plan.layout.dec_rad),
        "bytes_read": sum(path.stat().st_size for path in files),
        "bytes_written": sum(path.stat().st_size for path in out_ms.rglob("*") if path.is_file()),
        "seconds": {step: round(value, 3) for step, value in seconds.items()},
    }


def _foreign(plan: _Plan) -> dict[str, str]:
    """Names of the files that pyuvdata read, and why."""
    return {
        Path(subband.path).name: subband.rows.layout.foreign
        for subband in plan.subbands
        if subband.path is not None and subband.rows is not None and subband.rows.layout.foreign is not None
    }


def _pointing(meta: MsMeta, dec_rad: float) -> dict[str, float]:
    """Where the dishes pointed (declination of date) and when: the ends of the first and last integrations."""
    half_days = 0.5 * meta.integration_s / SECONDS_PER_DAY
    return {
        "dec_deg": float(np.degrees(dec_rad)),
        "mjd_start": float(meta.times_jd[0] - MJD_EPOCH_JD - half_days[0]),
        "mjd_end": float(meta.times_jd[-1] - MJD_EPOCH_JD + half_days[-1]),
    }


def _plan(slots: Sequence[Slot]) -> _Plan:
    """Read the headers, check that the files belong together, and find the order of everything."""
    layouts = {slot.path: _layout_of(slot.path, slot.reader) for slot in slots if slot.path is not None}
    if not layouts:
        raise InputError("a tile without a single subband file cannot be converted; check the index")
    first_path, first = next(iter(layouts.items()))
    rows = {}
    for path, layout in layouts.items():
        if layout.foreign is not None:
            logger.warning("%s: read by pyuvdata, slower: %s", path, layout.foreign)
        require_same(first_path, first, path, layout)
        rows[path] = rows_of(first_path, first, path, layout)
    subbands, channel = [], 0
    for slot in slots:
        freq_hz = np.asarray(
            slot.freq_low_hz + np.arange(slot.n_channels) * slot.channel_width_hz
            if slot.path is None
            else layouts[slot.path].freq_hz,
            dtype=np.float64,
        )
        if len(freq_hz) != slot.n_channels:
            raise InputError(
                f"{slot.path}: expected {slot.n_channels} channels, found {len(freq_hz)}; index again"
            )
        linear = np.linspace(freq_hz[0], freq_hz[-1], len(freq_hz))
        subbands.append(
            _Subband(
                path=slot.path,
                first_channel=channel,
                freq_file_hz=freq_hz,
                descending=bool(freq_hz[-1] < freq_hz[0]),
                uniform=bool(np.max(np.abs(freq_hz - linear)) < UNIFORM_HZ),
                rows=None if slot.path is None else rows[slot.path],
            )
        )
        channel += len(freq_hz)
    band_hz = np.concatenate([s.freq_file_hz[::-1] if s.descending else s.freq_file_hz for s in subbands])
    if not np.all(np.diff(band_hz) > 0):
        raise InputError(
            f"{first_path}: the subbands of this tile overlap in frequency; leave one of them out"
        )
    correlations, source, source_swapped = _correlations(first_path, first.polarizations)
    ant1, ant2 = antennas_of(first)
    if any(of.swapped.any() for of in rows.values()) and (source_swapped < 0).any():
        raise InputError(
            f"{first_path}: some baselines run from the later antenna to the earlier and only one of XY and YX is "
            "there, so they cannot be turned; write the file again with both, or with antenna 1 <= antenna 2"
        )
    return _Plan(
        layout=first,
        subbands=tuple(subbands),
        freq_hz=band_hz,
        corr_source=source,
        corr_source_swapped=source_swapped,
        correlations=correlations,
        ant1=np.minimum(ant1, ant2),
        ant2=np.maximum(ant1, ant2),
    )


def _layout_of(path: str, reader: Reader) -> uvh5.Layout:
    with faults_of(path):
        return raw.read_layout(path, reader)


def _correlations(
    path: str, polarizations: tuple[int, ...]
) -> tuple[tuple[int, ...], NDArray[np.int64], NDArray[np.int64]]:
    """CASA's correlations that a file has, in CASA's order, and where each is in the file."""
    unknown = [code for code in polarizations if code not in CORRELATIONS]
    if unknown:
        raise InputError(
            f"{path}: polarisation code {unknown[0]} is not one of {sorted(CORRELATIONS)} (AIPS codes)"
        )
    place = {CORRELATIONS[code]: i for i, code in enumerate(polarizations)}
    codes = tuple(sorted(place))
    turned = {10: 11, 11: 10, 6: 7, 7: 6}  # antenna 2 x antenna 1: what was XY is YX
    source = np.array([place[code] for code in codes])
    return codes, source, np.array([place.get(turned.get(code, code), -1) for code in codes])


def _meta(plan: _Plan, tile: str, centre: PhaseCentre | None) -> MsMeta:
    layout = plan.layout
    loc = geometry.location(layout.longitude_deg, layout.latitude_deg, layout.height_m)
    if centre is None:
        middle_jd = 0.5 * (layout.times_jd[0] + layout.times_jd[-1])
        ra, dec = geometry.meridian_icrs(middle_jd, layout.dec_rad, loc)
        name, ra_rad, dec_rad = MERIDIAN, float(ra[0]), float(dec[0])
    else:
        name = centre.name
        ra_rad, dec_rad = float(np.radians(centre.ra_deg) % (2 * np.pi)), float(np.radians(centre.dec_deg))
    used = np.unique([plan.ant1, plan.ant2])
    if not np.isfinite(layout.antenna_positions_m[used]).all():
        raise InputError(f"tile {tile}: an antenna with data has no finite position; repair the raw headers")
    return MsMeta(
        tile=tile,
        times_jd=layout.times_jd,
        integration_s=layout.integration_s,
        antenna_names=list(layout.antenna_names),
        antenna_positions_m=np.nan_to_num(layout.antenna_positions_m),
        diameters_m=layout.diameters_m,
        ant1=plan.ant1,
        ant2=plan.ant2,
        freq_hz=plan.freq_hz,
        channel_width_hz=layout.channel_width_hz,
        correlations=plan.correlations,
        phase_ra_rad=ra_rad,
        phase_dec_rad=dec_rad,
        field_name=name,
        pointing_dec_rad=layout.dec_rad,
        longitude_deg=layout.longitude_deg,
        latitude_deg=layout.latitude_deg,
        height_m=layout.height_m,
        telescope_name=layout.telescope_name,
    )


def _stream(
    plan: _Plan, meta: MsMeta, writer: MsWriter, flags: NDArray[np.bool_], noise: NoiseShape, threads: int
) -> NDArray[np.float32]:
    """Read, rotate and write every integration; `flags` (nt, nbl, nchan, ncorr) is filled, `noise` gathered.

    Returns the mean nsamples of the good channels, (nt, nbl, ncorr): 0 where there is none.
    """
    n_times, n_bl, n_chan, n_corr = meta.shape
    loc = geometry.location(meta.longitude_deg, meta.latitude_deg, meta.height_m)
    toward = geometry.antenna_uvw(
        meta.antenna_positions_m, meta.phase_ra_rad, meta.phase_dec_rad, meta.times_jd, loc
    )
    stopped = {of.rows.layout.dec_rad: of.rows.layout for of in plan.subbands if of.rows is not None}
    extra_w = {
        dec_rad: toward[:, :, 2] - w_of_files(layout, loc, meta.antenna_positions_m)
        for dec_rad, layout in stopped.items()
    }
    samples = np.zeros((n_times, n_bl, n_corr), dtype=np.float32)
    data = np.zeros((n_bl, n_chan, n_corr), dtype=np.complex64)
    edges = np.linspace(0, n_bl, threads + 1).astype(int)
    permits = threading.Semaphore(threads)
    with ThreadPoolExecutor(threads) as pool:
        pieces = _read_ahead(plan.subbands, n_times, permits)
        for i in range(n_times):
            sums = np.zeros((n_bl, n_corr, 2))
            extra = {dec_rad: w[i, plan.ant2] - w[i, plan.ant1] for dec_rad, w in extra_w.items()}
            for subband in plan.subbands:
                if subband.rows is None:
                    flags[i, :, subband.channels] = True
                    continue
                vis, raw_flags, nsamples = next(pieces)
                if subband.rows.order is not None:
                    vis, raw_flags, nsamples = (
                        of[:, subband.rows.order] for of in (vis, raw_flags, nsamples)
                    )
                swapped, extra_m = subband.rows.swapped, extra[subband.rows.layout.dec_rad]
                jobs = [
                    pool.submit(
                        _permitted,
                        permits,
                        rotate.rotate_rows,
                        first,
                        last,
                        vis[0],
                        raw_flags[0],
                        nsamples[0],
                        np.where(swapped, -extra_m, extra_m),
                        swapped,
                        plan.corr_source,
                        plan.corr_source_swapped,
                        subband.freq_file_hz,
                        subband.uniform,
                        subband.descending,
                        data[:, subband.channels],
                        flags[i, :, subband.channels],
                        sums,
                    )
                    for first, last in pairwise(edges)
                ]
                for job in jobs:
                    job.result()
            with permits:
                np.divide(sums[..., 0], sums[..., 1], out=sums[..., 0], where=sums[..., 1] > 0)
                samples[i] = sums[..., 0]
                if noise.wants(i):
                    noise.add(data, flags[i])
                writer.write_time(i, toward[i, plan.ant1] - toward[i, plan.ant2], data, None, None)
    return samples


def _permitted(permits: threading.Semaphore, work: Callable[..., Any], *arguments: Any) -> Any:
    """Work once there is a permit for it, one for each thread of the job."""
    with permits:
        return work(*arguments)


def _read(handle: uvh5.RawData | ForeignData, i: int) -> uvh5.Samples:
    """One integration of a file."""
    with faults_of(handle.path):
        return handle.read_times(i, i + 1)


def _read_ahead(subbands: Sequence[_Subband], n_times: int, permits: threading.Semaphore) -> Iterator[Any]:
    """Yield (vis, flags, nsamples) of each file of each integration, read in a thread ahead of their use."""
    with ExitStack() as stack:
        handles = []
        for s in subbands:
            if s.path is not None and s.rows is not None:
                with faults_of(s.path):
                    handles.append(stack.enter_context(raw.open_data(s.path, s.rows.layout)))
        order = [(handle, i) for i in range(n_times) for handle in handles]
        reader = stack.enter_context(ThreadPoolExecutor(1))
        pending: deque[Future] = deque()
        try:
            for handle, i in order:
                pending.append(reader.submit(_permitted, permits, _read, handle, i))
                if len(pending) > READ_AHEAD:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()
