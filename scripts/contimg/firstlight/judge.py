"""Findings from what was measured on the calibrator: where data are stopped, when, by which antennas, how well."""

from __future__ import annotations

import numpy as np

from contimg.core.constants import REFERENCE_HZ, SPEED_OF_LIGHT_M_S
from contimg.firstlight.beamfit import HALF_POWER, Drift, FieldBeam
from contimg.firstlight.finding import Finding, judged, untold
from contimg.firstlight.fringes import Solved, delays, stopped_at
from contimg.firstlight.options import FirstLightOptions
from contimg.firstlight.piece import Sky
from contimg.firstlight.places import Places, shifted_names
from contimg.firstlight.receivers import Receivers, hands_alike

STOPPED = "Data are fringe-stopped at hour angle 0 and the pointing declination, by the stated positions"
LEAST_DIRECTION = 0.01
"""Cables that grow along an arm look like a direction: less than this (0.6 deg) is no finding."""


def stopping(solved: list[Solved], sky: Sky, seen: np.ndarray, tracked: bool) -> Finding:
    """Solved delays against the geometric w of each hypothesis."""
    raw = sky.stop[:2]
    piece = solved[0].piece
    off, error = stopped_at(delays(solved), piece.enu_m, seen, 1.0 / piece.channel_hz, [np.zeros(2), raw])
    limit = np.maximum(LEAST_DIRECTION, 5 * error)
    said = (
        f"delays lean by {off[0]:+.4f} ± {error[0]:.4f} east, {off[1]:+.4f} ± {error[1]:.4f} north "
        "(direction cosines)"
    )
    said += f"; raw correlations would lean by {raw[0]:+.4f}, {raw[1]:+.4f}"
    size = float(np.hypot(*off))
    if tracked:
        return untold("fringe_stop", STOPPED, f"data follow the sky; {said}")
    if np.all(np.abs(raw) < limit):
        return untold(
            "fringe_stop", STOPPED, f"{said}: too little to tell", "look at a strip farther from the zenith"
        )
    holds = bool(np.all(np.abs(off) <= limit))
    if not holds and np.all(np.abs(off - raw) <= limit):
        advice = "these are raw correlations, nothing is stopped: run the meridian fringe stopper first"
    else:
        hour, dec = _direction(sky.stop, off, solved[0].piece.site[1])
        advice = (
            f"data are stopped at hour angle {hour:+.2f} deg, declination {dec:+.2f} deg, or cables "
            "differ by as much"
        )
    return judged("fringe_stop", STOPPED, holds, said, advice, value=size, error=float(np.hypot(*error)))


def _direction(stop: np.ndarray, off: np.ndarray, latitude_deg: float) -> tuple[float, float]:
    """Hour angle and declination (deg) where data are really stopped."""
    east, north = stop[:2] - off
    up = np.sqrt(max(0.0, 1.0 - east**2 - north**2))
    lat = np.radians(latitude_deg)
    sine = north * np.cos(lat) + up * np.sin(lat)
    cosine = -north * np.sin(lat) + up * np.cos(lat)
    return float(np.degrees(np.arctan2(-east, cosine))), float(np.degrees(np.arcsin(np.clip(sine, -1, 1))))


def antennas(found: Places, seen: np.ndarray, solved: list[Solved]) -> list[Finding]:
    """Time stamps, positions, names."""
    names = solved[0].piece.names
    what = "time_array is UTC, at the middle of integrations"
    said = (
        f"stamps are {found.late_s:+.2f} ± {found.late_err_s:.2f} s late ({15 * found.late_s:+.0f} "
        "arcsec of right ascension)"
    )
    if not found.late_err_s < 4.0 and not abs(found.late_s) > 4 * found.late_err_s:
        time = untold(
            "time",
            what,
            said,
            "a brighter source, more antennas north and south, or a steadier night tells; see clock",
        )
    else:
        time = judged(
            "time", what, abs(found.late_s) <= max(1.0, 4 * found.late_err_s), said,
            "add the opposite to the times, or find the clock: calibration hides it from images of its "
            "own hour, and leaves it in "
            "the places of all others", value=found.late_s, error=found.late_err_s, unit="s",
        )  # fmt: skip
    off = found.off
    shifted = {
        step: shifted_names(found, solved[0].piece.enu_m, other)
        for step, other in zip((-1, 1), solved[0].piece.beside_m, strict=True)
    }
    worst = max(shifted, key=lambda step: shifted[step])
    names_held = shifted[worst] < 0.6
    order = judged(
        "antenna_order", "antenna_positions are in the order of antenna_numbers, which baselines speak of", names_held,
        f"{int(off.sum())} of {int(np.isfinite(found.east_m).sum())} antennas are not where they are said to be; "
        f"{shifted[worst]:.0%} of them where the antenna {worst:+d} in the table is",
        f"number and name are confused: every antenna stands where the one {worst:+d} in the table is said to",
        value=shifted[worst],
    )  # fmt: skip
    which = [
        f"{names[k]} (east {found.east_m[k]:+.1f} ± {found.east_err_m[k]:.1f} m, north {found.north_m[k]:+.0f} ± "
        f"{found.north_err_m[k]:.0f} m)"
        for k in np.flatnonzero(off)
    ]
    error = float(np.nanmedian(found.east_err_m))
    places = judged(
        "antenna_positions", "Antennas stand where antenna_positions says", not which,
        f"median error of a place {error:.2f} m along east, {float(np.nanmedian(found.north_err_m)):.0f} m along north"
        + (f"; off: {', '.join(which[:8])}" + (" …" if len(which) > 8 else "") if which else ""),
        "look for exchanged cables (two antennas off by opposite amounts) or a place that was surveyed "
        "wrongly; calibration drops what "
        "it finds", value=float(len(which)),
    )  # fmt: skip
    dark = [names[k] for k in np.flatnonzero(~seen)]
    fringes = judged(
        "fringes", "Every antenna in the files sees the sky", not dark,
        f"{int(seen.sum())} of {seen.size} antennas have fringes in both polarisations"
        + (f"; without: {', '.join(dark[:12])}" + (" …" if len(dark) > 12 else "") if dark else ""),
        "dead, or X and Y exchanged, or its delay is beyond 1 / channel width; the pipeline drops "
        "it", value=float(len(dark)),
    )  # fmt: skip
    return [time, order, places, fringes]


def noise(found: Receivers, solved: list[Solved], options: FirstLightOptions) -> list[Finding]:
    """Radiometer equation, noise against the band, sensitivity, clipping, hands."""
    names = solved[0].piece.names
    radiometer = judged(
        "radiometer", "Noise is what autocorrelations, channel width and integration time make "
                      "it", 0.9 < found.radiometer < 1.15,
        f"variance of visibilities over A₁ A₂ / (2 Δν Δt): {found.radiometer:.3f}",
        "channel width or integration time are not what the header says (averaged, or part of the time "
        "lost), autocorrelations have "
        "another scale, or interference everywhere; weights are measured in the data, so images "
        "stand", value=found.radiometer,
    )  # fmt: skip
    what = "Noise passes through the same electronics as the sky, so its level has the band's shape"
    if found.band_slope is None:
        band = untold("noise_band", what, "the band is flat to 2 %")
    else:
        band = judged(
            "noise_band", what, 0.8 < found.band_slope < 1.2, f"ln noise goes as {found.band_slope:.2f} × "
                                                              "ln √(A₁ A₂) over the channels",
            "noise joins after the filters, or levels are set subband by subband after it; weights are "
            "measured channel by channel all "
            "the same", value=found.band_slope,
        )  # fmt: skip
    good = np.median(found.sefd_jy[found.seen], axis=1)
    middle = float(np.median(good)) if good.size else float("nan")
    seen = np.flatnonzero(found.seen)
    weak = [f"{names[k]} ({value:.0f})" for k, value in zip(seen, good, strict=True) if value > 1.5 * middle]
    sefd = judged(
        "sefd", f"An antenna's SEFD is about {options.sefd_jy:.0f} Jy", 0.7 < middle / options.sefd_jy < 1.4,
        f"median {middle:.0f} Jy, {len(weak)} antennas above 1.5 times "
        "that" + (f": {', '.join(weak[:8])}" if weak else ""),
        "a calibrator whose flux or place in the beam is wrong scales all of them; or this is what the "
        "array has: expected noise in "
        "plans and gates follows the measured weights", value=middle, unit="Jy",
    )  # fmt: skip
    return [radiometer, band, sefd, _clipping(found, names), _hands(solved), _hands_names()]


def _clipping(found: Receivers, names: list[str]) -> Finding:
    what = "Digitisers do not clip: a source in the beam adds to autocorrelations what it should"
    usable = found.seen & np.isfinite(found.auto_slope)
    typical = float(np.median(found.auto_slope_err[usable])) if usable.any() else np.inf
    if not typical < 0.15:
        return untold(
            "clipping",
            what,
            f"slope of an antenna known to ± {typical:.2f} only",
            "a brighter source tells, in all subbands",
        )
    low = usable & (found.auto_slope < 0.8 - 4 * found.auto_slope_err)
    listed = [f"{names[k]} ({found.auto_slope[k]:.2f})" for k in np.flatnonzero(low)]
    return judged(
        "clipping", what, not listed,
        f"measured over expected: median {float(np.median(found.auto_slope[usable])):.2f} ± {typical:.2f} an antenna"
        + (f"; low: {', '.join(listed[:8])}" if listed else ""),
        "lower these antennas' levels: their gain falls while the beam sees a bright source", value=float(len(listed)),
    )  # fmt: skip


def _hands(solved: list[Solved]) -> Finding:
    what = "XX and YY are in the same order in all subbands"
    if len(solved) < 3:
        return untold("hands_order", what, "fewer than three subbands were read")
    alike = hands_alike(solved)
    wrong = [
        f"{part.piece.freq_hz.mean() / 1e6:.1f} MHz"
        for part, value in zip(solved, alike, strict=True)
        if value < -0.3
    ]
    if not wrong and np.median(alike) < 0.3:
        return untold(
            "hands_order",
            what,
            f"levels of X and Y are not alike from subband to subband ({np.median(alike):+.2f})",
        )
    return judged(
        "hands_order", what, not wrong, "correlation of ln(A_X / A_Y) with the other subbands: "
                                        f"{min(alike):+.2f} at worst",
        f"exchange XX and YY at {', '.join(wrong)}", value=min(alike),
    )  # fmt: skip


def _hands_names() -> Finding:
    return untold(
        "hands_names", "What is called XX is X", "unpolarised sources look the same in both",
        "Stokes I does not depend on it; 3C286 (9.5 %, position angle 33 deg) would show more power in "
        "one polarisation than unpolarised sources do",
    )  # fmt: skip


def beam(found: Drift, by_field: FieldBeam | None, diameter_m: float, has_catalogue: bool) -> list[Finding]:
    """Width, squint, pointing."""
    widths = [(found.diameter_m, found.diameter_err_m, "drift of the calibrator")]
    if by_field is not None:
        widths.append((by_field.diameter_m, by_field.diameter_err_m, f"{by_field.n_sources} sources"))
    best = min(widths, key=lambda entry: entry[1])
    full = np.degrees(HALF_POWER * SPEED_OF_LIGHT_M_S / REFERENCE_HZ)
    what = f"The beam is that of a dish of {diameter_m} m: {full / diameter_m:.2f} deg wide at half power at 1.4 GHz"
    said = "; ".join(
        f"{full / m:.2f} ± {full / m * err / m:.2f} deg ({m:.2f} ± {err:.2f} m) by {how}"
        for m, err, how in widths
    )
    if best[1] > 0.25:
        width = untold("beam_width", what, said, "a brighter source or a catalogue tells")
    else:
        width = judged(
            "beam_width", what, abs(best[0] - diameter_m) <= max(0.1, 3 * best[1]), said,
            f"set beam.diameter_m: {best[0]:.2f} for now, and measure it with the target `beam` over nights",
            value=best[0], error=best[1], unit="m",
        )  # fmt: skip
    squint, squint_err = float(found.west_deg[0] - found.west_deg[1]), float(np.hypot(*found.west_err_deg))
    hands = judged(
        "squint", "X and Y point at the same place", abs(squint) <= max(0.03, 4 * squint_err),
        f"X is {squint:+.3f} ± {squint_err:.3f} deg west of Y (north-south: not told by a drift)",
        "fluxes off the axis are right in the mean of both only where both are there; a beam file may "
        "hold each", value=squint,
        error=squint_err, unit="deg",
    )  # fmt: skip
    west, west_err = float(np.mean(found.west_deg)), float(0.5 * np.hypot(*found.west_err_deg))
    east_west = judged(
        "pointing_west", "Dishes point at the meridian", abs(west) <= max(0.05, 4 * west_err),
        f"{west:+.3f} ± {west_err:.3f} deg west of it, if times are "
        "right", "times by a minute, or the dishes' tilt: 0.25 deg is a minute",
        value=west, error=west_err, unit="deg",
    )  # fmt: skip
    what = "Dishes point at the header's declination"
    if by_field is None:
        why = "fewer than six catalogue sources above 8 σ" if has_catalogue else "no catalogue was given"
        north = untold(
            "pointing_north", what, why, "give --catalog FILE: fluxes north and south of the pointing tell"
        )
    elif by_field.north_err_deg > 0.15:
        north = untold(
            "pointing_north",
            what,
            f"{by_field.north_deg:+.3f} ± {by_field.north_err_deg:.3f} deg north of it",
        )
    else:
        north = judged(
            "pointing_north", what, abs(by_field.north_deg) <= max(0.05, 4 * by_field.north_err_deg),
            f"{by_field.north_deg:+.3f} ± {by_field.north_err_deg:.3f} deg north of it, by "
            f"{by_field.n_sources} sources",
            "fluxes north and south of the pointing come out wrong the opposite way; correct "
            "phase_center_app_dec or the elevation",
            value=by_field.north_deg, error=by_field.north_err_deg, unit="deg",
        )  # fmt: skip
    return [width, hands, east_west, north]
