"""True frequencies and the sign of the phases, from how fast fringes turn."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from contimg.firstlight.finding import Finding, judged, untold
from contimg.firstlight.fringes import Rate
from contimg.firstlight.piece import Piece

SIGN = "A source shows as exp(+2πi (w_source - w_stopped) ν / c), w of antenna 2 less antenna 1"
DRIFTS = "Data do not follow the sky: every integration is phased to one hour angle and declination"
ORDER = "Channels and subbands lie where the headers' frequencies say"
EDGES = "Channel centres are right to a part of a channel"


@dataclass(frozen=True)
class Turning:
    """What the rates of all blocks say together.

    Attributes
    ----------
    kind : int or None
        1 as expected, -1 with the other sign, 0 following the source; None without fringes.
    flipped : bool
        Channels lie the other way round inside the files.
    mirrored : bool
        So do the files in the band.
    """

    kind: int | None
    flipped: bool
    mirrored: bool
    findings: tuple[Finding, ...]


def turning(rates: list[list[Rate]], channel_hz: float) -> Turning:
    """Judge the rates of the read subbands (ascending in stated frequency), a list of blocks each."""
    seen = [rate for pair in rates for rate in pair if rate.seen]
    if not seen:
        why = "no fringes of the calibrator at any rate"
        advice = (
            "try another tile or source; look at the autocorrelations, the antennas' fringes and the "
            "time stamps below"
        )
        return Turning(
            None, False, False, tuple(untold(n, a, why, advice) for n, a in
            (("sign", SIGN), ("drift", DRIFTS), ("channel_order", ORDER), ("channel_edges", EDGES)))
        )  # fmt: skip
    factor = float(np.median([rate.factor for rate in seen]))
    kind = int(np.clip(np.rint(factor), -1, 1))
    said = (
        f"fringes turn at {factor:+.4f} of the expected rate ({len(seen)} of {sum(map(len, rates))} "
        "blocks of channels)"
    )
    drifting = judged(
        "drift", DRIFTS, kind != 0, said,
        "data follow a place of the sky: the pipeline would take the source's motion out twice; use raw "
        "files as the meridian "
        "fringe stopper writes them", value=factor,
    )  # fmt: skip
    if kind == 0:
        why = "data follow the sky"
        rest = (
            untold("sign", SIGN, why),
            untold("channel_order", ORDER, why),
            untold("channel_edges", EDGES, why),
        )
        return Turning(0, False, False, (drifting, *rest))
    sign = judged(
        "sign", SIGN, kind == 1, said,
        "the sky would come out mirrored: conjugate visdata, or exchange ant_1_array and ant_2_array, "
        "before anything else",
        value=float(kind),
    )  # fmt: skip
    flipped, mirrored, order = _order(rates, kind)
    return Turning(
        kind, flipped, mirrored, (drifting, sign, order, _edges(seen, kind, channel_hz, flipped or mirrored))
    )


def _order(rates: list[list[Rate]], kind: int) -> tuple[bool, bool, Finding]:
    """Whether true frequency rises with the stated one, inside files and from file to file."""
    inside, weight = 0.0, 0.0
    stated, true, errors = [], [], []
    for pair in rates:
        if len(pair) == 2 and all(rate.seen for rate in pair):
            low, high = pair
            step = high.freq_hz - low.freq_hz
            value = kind * (high.factor * high.freq_hz - low.factor * low.freq_hz) / step
            error = float(np.hypot(high.error * high.freq_hz, low.error * low.freq_hz)) / step
            inside, weight = inside + value / error**2, weight + 1 / error**2
        for rate in pair:
            if rate.seen:
                stated.append(np.mean([one.freq_hz for one in pair]))
                true.append(kind * rate.factor * rate.freq_hz)
                errors.append(rate.error * rate.freq_hz)
    within = inside / weight if weight else float("nan")
    within_err = weight**-0.5 if weight else float("inf")
    files = np.unique(stated).size
    across = float(np.polyfit(stated, true, 1)[0]) if files > 1 else float("nan")
    flipped, mirrored = bool(within < -0.5), bool(across < -0.5)
    told = within_err < 0.2 or files > 1
    said = f"true over stated step of frequency: {within:+.2f} ± {within_err:.2f} inside files"
    said += f", {across:+.3f} from file to file" if files > 1 else ""
    if not told:
        return False, False, untold("channel_order", ORDER, said, "a brighter source or a longer tile tells")
    wrong = [where for where, bad in (("inside files", flipped), ("from file to file", mirrored)) if bad]
    holds = not wrong and not (within_err < 0.2 and abs(within - 1) > 0.5)
    advice = f"frequencies run the other way {' and '.join(wrong)}: correct freq_array in the files" if wrong else (
        "frequencies inside files do not follow freq_array: correct it")  # fmt: skip
    return (
        flipped,
        mirrored,
        judged("channel_order", ORDER, holds, said, advice, value=within, error=within_err),
    )


def _edges(seen: list[Rate], kind: int, channel_hz: float, upside_down: bool) -> Finding:
    """Common shift of the frequencies, in channels; its error from the blocks' scatter."""
    if upside_down:
        return untold("channel_edges", EDGES, "the order is wrong", "correct the order first")
    shift = np.array([(kind * rate.factor - 1) * rate.freq_hz / channel_hz for rate in seen])
    weight = np.array([(rate.error * rate.freq_hz / channel_hz) ** -2 for rate in seen])
    mean = float(np.sum(shift * weight) / weight.sum())
    scatter = np.sqrt(np.sum(weight * (shift - mean) ** 2) / max(1, shift.size - 1))
    error = float(max(1.0, scatter) / np.sqrt(weight.sum()))
    said = f"shifted by {mean:+.2f} ± {error:.2f} channels"
    if error > 0.5:
        return untold("channel_edges", EDGES, said, "a brighter source or a longer tile tells")
    return judged(
        "channel_edges", EDGES, abs(mean) <= max(0.35, 4 * error), said,
        f"take {mean * channel_hz / 1e3:+.0f} kHz into freq_array, if times, declination and antenna positions are "
        "sure: a rate wrong by as much would look the same", value=mean, error=error, unit="channels",
    )  # fmt: skip


def corrected(pieces: list[Piece], found: Turning) -> list[Piece]:
    """Pieces with the sign and the order of frequencies that the rates tell, so that what follows can be measured."""
    low, high = min(p.freq_hz[0] for p in pieces), max(p.freq_hz[-1] for p in pieces)
    out = []
    for piece in pieces:
        vis = piece.vis.conj() if found.kind == -1 else piece.vis
        freq = piece.freq_hz
        if found.flipped != found.mirrored:
            freq = freq[0] + freq[-1] - freq
        if found.mirrored:
            freq = low + high - freq
        order = np.argsort(freq)
        out.append(replace(piece, vis=vis[:, :, order], autos=piece.autos[:, :, order], freq_hz=freq[order]))
    return sorted(out, key=lambda piece: float(piece.freq_hz[0]))
