"""What is flagged while raw files become a Measurement Set, how the noise is found, and what is told of it.

In this order: what the file flags, what is not finite or exactly zero (both already done by `contimg.convert.rotate`);
autocorrelations; configured antennas and bands; dead antennas; what is absurdly strong for its baseline;
interference, by AOFlagger, baseline by baseline, and on all baselines what many have; antennas of wild amplitude;
antennas that now are dead.

The visibilities are read back once, a block of baselines at all integrations at a time, and AOFlagger works on the
blocks in processes of its own (`contimg.convert.flag_worker`).
"""

from __future__ import annotations

import mmap
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from contimg.convert import flag_shape, flag_stats, flag_worker, waterfall
from contimg.convert.flag_process import FlagProcess
from contimg.core.errors import ConfigError
from contimg.core.robust import mad_sigma
from contimg.ms.meta import PARALLEL_HANDS, MsMeta
from contimg.ms.noise import polarisations_of
from contimg.ms.sets import tile_rows

if TYPE_CHECKING:
    from contimg.convert.options import FlaggingOptions

BLOCK_BYTES = 16_000_000
"""Visibilities in a block: two blocks and the flags of a full tile stay below 0.3 GB."""
LEAST_SCATTER = 0.1
"""Antennas' amplitudes are taken to scatter by at least this much (of the natural logarithm): where they agree
better, a healthy antenna must not be wild because it differs by a few per cent."""

LEAST_SAMPLES = 2000
"""Channels times partners of an antenna in an integration: its noise there is known to 3 %, and 0.1 % of what weights
can do is lost; with fewer it is taken to be constant."""

ReadBlock = Callable[[int, int, NDArray[np.complex64]], None]
"""Reads baselines first ... first + n of integration i into an (n, nchan, ncorr) array: (i, first, array)."""


@dataclass(frozen=True)
class FlagReport:
    """What flagging found."""

    rejected: str | None  # why the tile cannot be used
    weight: NDArray[
        np.float64
    ]  # (nt, nbl, ncorr) 1 / variance of the real part in a usual channel; 0 unknown
    metrics: dict[str, Any]
    lines: list[str]  # for HISTORY


class Flagger:
    """Flags of one tile, from the first visibility to the report; a context manager.

    Parameters
    ----------
    meta
        What the Measurement Set says of itself.
    options
        What to flag.
    present
        (nchan,) false for channels of subbands that are missing.
    threads
        Blocks worked on at once.

    Attributes
    ----------
    flags : (nt, nbl, nchan, ncorr) bool
        True is bad; to be filled with what the files say before `run`, final after it.

    Raises
    ------
    ConfigError
        An antenna to flag is not one of the array's, or there is no such strategy file.
    """

    def __init__(
        self, meta: MsMeta, options: FlaggingOptions, present: NDArray[np.bool_], threads: int
    ) -> None:
        self._meta, self._options, self._present, self._threads = meta, options, present, threads
        self._cross = meta.ant1 != meta.ant2
        unknown = sorted(set(options.flag_antennas) - set(meta.antenna_names))
        if unknown:
            raise ConfigError(
                f"flagging.flag_antennas: {unknown[0]} is not an antenna of tile {meta.tile}; the names run from "
                f"{meta.antenna_names[0]} to {meta.antenna_names[-1]}"
            )
        n_times, n_bl, n_chan, n_corr = meta.shape
        tile = tile_rows(n_bl)  # whole tiles, so that none is read twice
        self._block = tile * max(1, min(n_bl, BLOCK_BYTES // (8 * n_times * n_chan * n_corr)) // tile)
        self._size = flag_worker.aligned(int(np.prod(meta.shape))) + threads * flag_worker.aligned(
            8 * n_times * self._block * n_chan * n_corr
        )
        self._descriptor = os.memfd_create("contimg-flags")
        os.ftruncate(self._descriptor, self._size)
        self._memory = mmap.mmap(self._descriptor, self._size)
        self.flags, _ = flag_worker.arrays(self._memory, meta.shape, self._block, 0)
        self._strategies = _strategy_files(options) if options.aoflagger else ()
        self._workers: list[FlagProcess] = []

    def __enter__(self) -> Flagger:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._workers:
            worker.stop()
        os.close(self._descriptor)  # the memory itself goes with the last view of it

    def run(self, read_block: ReadBlock, noise_shape: NDArray[np.float64] | None = None) -> FlagReport:
        """Flag everything that is to be flagged in `flags`, and report.

        Parameters
        ----------
        read_block
            Reads the visibilities back.
        noise_shape
            (nant, nchan, 2) power of each antenna's noise over the band (`contimg.convert.flag_shape`), which is
            taken out of the data before anything is looked for in them; None: it is flat.

        Raises
        ------
        SystemFault
            A flagging process ended before its work did.
        """
        meta = self._meta
        from_file = self._fraction()
        self.flags[:, ~self._cross] = True
        reasons: dict[int, str] = {}
        self._drop(
            {meta.antenna_names.index(name): "configured" for name in self._options.flag_antennas}, reasons
        )
        for low_mhz, high_mhz in self._options.rfi_bands_mhz:
            half = meta.channel_width_hz / 2
            inside = (meta.freq_hz + half > low_mhz * 1e6) & (meta.freq_hz - half < high_mhz * 1e6)
            self.flags[:, :, inside] = True
        self._drop(self._dead(), reasons)
        before_search, cells = self._fraction(), self._cells()
        power, noise, in_time = self._search(read_block, noise_shape)
        after_search = self._fraction()
        if self._strategies and self._options.shared_fraction < 1.0:
            self._share_out(cells)
        shared = self._fraction() - after_search
        self._drop(self._wild(power, reasons), reasons)
        self._drop(self._dead(), reasons)
        weight = self._weights(noise)[np.newaxis] * self._course(noise, in_time)
        per_baseline, per_channel, per_time = self._counts()
        usable = self._usable_per_baseline()
        metrics: dict[str, Any] = {
            "flag_fraction": _share(
                per_baseline[self._cross].sum(), self._cross.sum() * self._all_per_baseline()
            ),
            "flag_fraction_in_files": from_file,
            "flag_fraction_by_aoflagger": after_search - before_search,
            "flag_fraction_shared": shared,
            "flag_fraction_by_antenna": self._by_antenna(per_baseline, usable),
            "flag_fraction_by_subband": self._by_subband(per_channel),
            "flag_fraction_by_time": self._by_time(per_time),
            "flag_fraction_by_length": self._by_length(per_baseline, usable),
            "dead_antennas": {meta.antenna_names[i]: reason for i, reason in sorted(reasons.items())},
            "most_flagged_baselines": self._waterfalls(per_baseline, set(reasons)),
        }
        return FlagReport(
            rejected=self._rejected(metrics),
            weight=weight,
            metrics=metrics,
            lines=[
                f"flagged {100 * metrics['flag_fraction']:.2f} % of the cross-correlations"
                + (" with AOFlagger" if self._options.aoflagger else ""),
                *(f"antenna {name} flagged: {reason}" for name, reason in metrics["dead_antennas"].items()),
                "WEIGHT is 1 / variance of a usual channel, from second differences of neighbouring channels, per "
                "antenna and integration; the keyword CONTIMG_NOISE has each antenna's noise over the band",
            ],
        )

    def _start(self, number: int) -> FlagProcess:
        """Start a flagging process. Not before there is work: its start keeps a thread busy as well."""
        job = {
            "memory": self._descriptor,
            "size": self._size,
            "shape": self._meta.shape,
            "block": self._block,
            "number": number,
            "strategies": [str(path) for path in self._strategies],
        }
        worker = FlagProcess(job)
        self._workers.append(worker)
        worker.wait_for("ready")
        return worker

    def _search(
        self, read_block: ReadBlock, noise_shape: NDArray[np.float64] | None
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Read all baselines, find interference, return power and noise of each, (nbl, ncorr), and that in time."""
        meta = self._meta
        n_times, n_bl, n_chan, n_corr = meta.shape
        power, noise, in_time = (
            np.zeros((n_bl, n_corr)),
            np.zeros((n_bl, n_corr)),
            np.zeros((n_times, n_bl, n_corr)),
        )
        amplitude = None if noise_shape is None else np.sqrt(noise_shape).astype(np.float32)
        pols = polarisations_of(meta)
        reading = threading.Lock()
        blocks = iter(range(0, n_bl, self._block))

        def work(number: int) -> None:
            _, buffer = flag_worker.arrays(self._memory, self._meta.shape, self._block, number)
            worker = self._start(number) if self._strategies else None
            while True:
                with reading:
                    first = next(blocks, None)
                    if first is None:
                        return
                    rows = slice(first, min(first + self._block, n_bl))
                    count = rows.stop - first
                    data = buffer[: n_times * count * n_chan * n_corr].reshape(n_times, count, n_chan, n_corr)
                    if self.flags[:, rows].all():
                        continue
                    for i in range(n_times):
                        read_block(i, first, data[i])
                if amplitude is not None:
                    flag_shape.flatten(data, meta.ant1[rows], meta.ant2[rows], *pols, amplitude)
                flags = self.flags[:, rows]
                flag_stats.flag_wild(data, flags, flag_stats.usual_power(data, flags))
                if worker is not None:
                    worker.flag(first, count)
                flag_stats.block_power(data, flags, power[rows], noise[rows], in_time[:, rows])

        with ThreadPoolExecutor(self._threads) as pool:
            for job in [pool.submit(work, number) for number in range(self._threads)]:
                job.result()
        return power, noise, in_time

    def _share_out(self, before: NDArray[np.int64]) -> None:
        """Flag on all baselines the cells in which more than `shared_fraction` of them show interference.

        What few baselines miss of it is strong enough to be the noise of an image. `before`: `_cells` before the
        search, as what files flag on many baselines says nothing of the others.
        """
        found, searched = self._cells() - before, self._cross.sum() - before
        shared = found > self._options.shared_fraction * searched
        for i in range(len(shared)):
            self.flags[i][:, shared[i]] = True

    def _cells(self) -> NDArray[np.int64]:
        """In how many cross-correlations each integration and channel is flagged, (nt, nchan)."""
        found = np.empty((len(self.flags), self.flags.shape[2]), np.int64)
        for flags, count in zip(self.flags, found, strict=True):
            bad = flags[self._cross, :, 0]
            for corr in range(1, flags.shape[2]):  # any() along so short an axis takes forty times as long
                bad |= flags[self._cross, :, corr]
            count[:] = np.count_nonzero(bad, axis=0)
        return found

    def _drop(self, antennas: dict[int, str], reasons: dict[int, str]) -> None:
        """Flag antennas (index: reason) wholly, unless they are flagged already."""
        for antenna, reason in antennas.items():
            if antenna not in reasons:
                reasons[antenna] = reason
                self.flags[:, (self._meta.ant1 == antenna) | (self._meta.ant2 == antenna)] = True

    def _dead(self) -> dict[int, str]:
        """Antennas that have next to no good data in the subbands that are there."""
        per_baseline, _, _ = self._counts()
        fractions = self._by_antenna(per_baseline, self._usable_per_baseline())
        limit = self._options.dead_antenna_fraction
        return {
            self._meta.antenna_names.index(name): f"dead: {100 * fraction:.1f} % flagged or zero"
            for name, fraction in fractions.items()
            if fraction > limit
        }

    def _wild(self, power: NDArray[np.float64], dropped: dict[int, str]) -> dict[int, str]:
        """Antennas whose amplitudes are far from the others', in any parallel-hand correlation."""
        meta, found = self._meta, {}
        for corr, code in enumerate(meta.correlations):
            if code not in PARALLEL_HANDS:
                continue
            terms = flag_stats.antenna_terms(power[:, corr], meta.ant1, meta.ant2, len(meta.antenna_names))
            amplitude = 0.5 * np.log(terms)  # power is a product of two antennas' squared amplitudes
            amplitude[list(dropped)] = np.nan
            if np.isfinite(amplitude).sum() < 4:  # too few to say which of them is wrong
                continue
            offset = amplitude - np.nanmedian(amplitude)
            scatter = max(LEAST_SCATTER, mad_sigma(offset, about=0.0))
            for antenna in np.flatnonzero(np.abs(offset) > self._options.antenna_amplitude_sigma * scatter):
                found[int(antenna)] = f"amplitude {np.exp(offset[antenna]):.3g} times the median antenna's"
        return found

    def _weights(self, noise: NDArray[np.float64]) -> NDArray[np.float64]:
        """1 / variance of the real part, (nbl, ncorr), from the product of two antennas' noise."""
        meta = self._meta
        weight = np.zeros_like(noise)
        for corr in range(noise.shape[1]):
            terms = flag_stats.antenna_terms(noise[:, corr], meta.ant1, meta.ant2, len(meta.antenna_names))
            variance = 0.5 * terms[meta.ant1] * terms[meta.ant2]
            np.divide(1.0, variance, out=weight[:, corr], where=np.isfinite(variance) & (variance > 0))
        return weight

    def _course(self, noise: NDArray[np.float64], in_time: NDArray[np.float64]) -> NDArray[np.float64]:
        """How weights run in time, (nt, nbl, ncorr): 1 over the product of two antennas' noise over their means."""
        meta = self._meta
        relative_s = meta.integration_s / np.median(meta.integration_s)
        course = np.ones(in_time.shape) * relative_s[:, np.newaxis, np.newaxis]
        if len(meta.freq_hz) * (len(np.unique(meta.ant1)) - 1) < LEAST_SAMPLES:
            return course
        for corr in range(noise.shape[1]):
            terms = np.full((meta.n_times, len(meta.antenna_names)), np.nan)
            for i in range(meta.n_times):
                ratio = np.divide(
                    in_time[i, :, corr],
                    noise[:, corr],
                    out=np.zeros(meta.n_baselines),
                    where=noise[:, corr] > 0,
                )
                terms[i] = flag_stats.antenna_terms(ratio, meta.ant1, meta.ant2, terms.shape[1])
            known = np.isfinite(terms)
            mean = np.where(known, terms, 0.0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
            terms = np.divide(terms, mean, out=np.ones_like(terms), where=known & (mean > 0))
            course[..., corr] = 1.0 / (terms[:, meta.ant1] * terms[:, meta.ant2])
        return course

    def _counts(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Flags of each baseline, (nbl,), of each channel (nchan,) and integration (nt,) in cross-correlations.

        Channels of missing subbands are not in those of an integration.
        """
        n_times, n_bl, n_chan, _ = self._meta.shape
        per_baseline = np.zeros(n_bl, dtype=np.int64)
        per_channel = np.zeros(n_chan, dtype=np.int64)
        so_far = np.zeros(n_times + 1, dtype=np.int64)
        for i in range(n_times):
            flag_stats.count_flags(self.flags[i], self._cross, per_baseline, per_channel)
            so_far[i + 1] = per_channel[self._present].sum()
        return per_baseline, per_channel, np.diff(so_far)

    def _all_per_baseline(self) -> int:
        n_times, _, n_chan, n_corr = self._meta.shape
        return n_times * n_chan * n_corr

    def _usable_per_baseline(self) -> int:
        n_times, _, _, n_corr = self._meta.shape
        return n_times * int(self._present.sum()) * n_corr

    def _fraction(self) -> float:
        per_baseline, _, _ = self._counts()
        return _share(per_baseline[self._cross].sum(), self._cross.sum() * self._all_per_baseline())

    def _by_antenna(self, per_baseline: NDArray[np.int64], usable: int) -> dict[str, float]:
        """Flagged fraction of each antenna's cross-correlations; missing subbands do not count."""
        meta = self._meta
        missing = self._all_per_baseline() - usable
        used = np.unique(np.concatenate([meta.ant1, meta.ant2]))
        fractions = {}
        for antenna in used:
            mine = self._cross & ((meta.ant1 == antenna) | (meta.ant2 == antenna))
            fractions[meta.antenna_names[antenna]] = _share(
                (per_baseline[mine] - missing).sum(), mine.sum() * usable
            )
        return fractions

    def _by_subband(self, per_channel: NDArray[np.int64]) -> list[float]:
        """Flagged fraction of sixteenths of the band, ascending in frequency."""
        n_times, _, n_chan, n_corr = self._meta.shape
        per = int(self._cross.sum()) * n_times * n_corr
        parts = np.array_split(per_channel, min(16, n_chan))
        return [_share(part.sum(), per * len(part)) for part in parts]

    def _by_time(self, per_time: NDArray[np.int64]) -> list[float]:
        """Flagged fraction of each integration; missing subbands do not count."""
        whole = int(self._cross.sum()) * int(self._present.sum()) * self._meta.shape[3]
        return [_share(part, whole) for part in per_time]

    def _by_length(self, per_baseline: NDArray[np.int64], usable: int) -> list[dict[str, float]]:
        """Flagged fraction of baselines by length, in octaves; missing subbands do not count."""
        missing = self._all_per_baseline() - usable
        octaves = []
        for low, high, chosen in flag_stats.octaves(self._meta.baseline_lengths_m(), self._cross):
            fraction = _share((per_baseline[chosen] - missing).sum(), chosen.sum() * usable)
            octaves.append({"from_m": low, "to_m": high, "fraction": fraction})
        return octaves

    def _waterfalls(self, per_baseline: NDArray[np.int64], dropped: set[int]) -> list[dict[str, Any]]:
        """Flags of the most flagged baselines of antennas that are not dropped."""
        meta = self._meta
        kept = self._cross & ~np.isin(meta.ant1, list(dropped)) & ~np.isin(meta.ant2, list(dropped))
        pairs = zip(meta.ant1.tolist(), meta.ant2.tolist(), strict=True)
        labels = [f"{meta.antenna_names[one]}-{meta.antenna_names[other]}" for one, other in pairs]
        return waterfall.worst(self.flags, per_baseline, kept, labels)

    def _rejected(self, metrics: dict[str, Any]) -> str | None:
        if metrics["flag_fraction"] < 1.0:
            return None
        if not self._cross.any():
            return "there are no cross-correlations"
        if metrics["flag_fraction_in_files"] >= 1.0:
            return "no usable data: every visibility is flagged, zero or not finite in the raw files"
        return "no usable data: everything is flagged (see dead_antennas and the flagging settings)"


def _strategy_files(options: FlaggingOptions) -> tuple[Path, ...]:
    """The configured strategy; or the one in the package, and that for baselines of which nothing is flagged yet."""
    if options.strategy is None:
        folder = Path(str(resources.files("contimg.convert")))
        return folder / "dsa110.lua", folder / "dsa110_whole.lua"
    path = Path(options.strategy)
    if not path.is_file():
        raise ConfigError(
            f"flagging.strategy: no file {path}; write the path of an AOFlagger Lua file, or null"
        )
    return (path.resolve(),)


def _share(part: float, whole: float) -> float:
    return float(part) / float(whole) if whole else 1.0
