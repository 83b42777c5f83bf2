"""The visibilities of a tile, subband by subband: sky through beam and fringe stopper, noise, gains.

Sign convention (pyuvdata's): baseline = antenna 2 - antenna 1, and
V_new = V_old exp(-2 pi i (w_new - w_old) nu / c) brings data from one phase centre to another. A source has
phase 0 at its own place, so data phased to (HA 0, pointing declination) show it with
exp(+2 pi i (w_source - w_stopped) nu / c).

Within an integration and a channel the fringe turns at a constant rate, and averages by sin(x) / x; the beam
is taken at the integration's midpoint (the mean over 13 s differs by 1.1e-4 inside the half-power
point). Gains are constant in a channel.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from contimg.simulate import a_team, beam, clip, far, gains, geometry, rfi, screen, sky
from contimg.simulate.core import add_sky
from contimg.simulate.model import TileModel
from contimg.simulate.options import SimOptions, Source
from contimg.simulate.stations import Stations, enu_axes, true_positions
from contimg.simulate.streams import Stream, generator

EXTENT_STEP_DEG = 0.01  # small against the beam, large against the rounding of apparent places
POL_PAIRS = {2: ((0, 0), (1, 1)), 4: ((0, 0), (0, 1), (1, 0), (1, 1))}


def tile_key(start_mjd: float) -> int:
    """Return the integer that stands for a tile in random streams: its start in whole seconds of MJD UTC."""
    return round(start_mjd * 86400.0)


def subband_freq_hz(options: SimOptions, subband: int) -> np.ndarray:
    """Return the channel centres (nchan,) of a subband in file order, Hz."""
    n = options.n_subbands * options.n_channels
    centres = options.band_low_hz + (np.arange(n) + 0.5) * options.channel_width_hz
    if options.descending:
        centres = centres[::-1]
    return centres[subband * options.n_channels : (subband + 1) * options.n_channels].copy()


def make_tile(
    options: SimOptions,
    *,
    times_jd: np.ndarray,
    start_mjd: float,
    dec_deg: float,
    sources: list[Source],
    stations: Stations,
    used: np.ndarray,
    antenna_gains: list[gains.AntennaGain],
    bursts: list[rfi.Burst],
) -> TileModel:
    """Compute apparent places, paths and beam offsets of a tile's sources.

    Parameters
    ----------
    times_jd : ndarray, (nt,)
        The midpoints exactly as the headers give them, JD UTC.
    dec_deg : float
        Pointing declination, apparent, deg.
    used : ndarray of int
        Indices of the stations that take data.
    """
    pointing = math.radians(dec_deg)
    if sources:
        ra, dec = np.array([s.ra_deg for s in sources]), np.array([s.dec_deg for s in sources])
        chosen = _seen(options, sources, ra, dec, 0.5 * (times_jd[0] + times_jd[-1]), pointing)
    else:
        chosen = np.array([], int)
    near_sources = [sources[i] for i in chosen]
    if near_sources:
        ha, apparent_dec = geometry.hour_angle_dec(ra[chosen], dec[chosen], times_jd)
    else:
        ha = apparent_dec = np.zeros((len(times_jd), 0))
    stated = stations.positions_m[used]
    positions = true_positions(stations, used, moved=options.moved_antennas, swapped=options.swapped_antennas)
    times_mjd = times_jd - geometry.MJD_TO_JD
    offsets = np.stack([ha * math.cos(pointing), apparent_dec - pointing])
    west, north = screen.refraction_rad(options, times_mjd, offsets)
    path, rate = geometry.excess_path(
        positions, ha + west / np.cos(apparent_dec), apparent_dec + north, pointing, stated
    )
    path += screen.path_m(options, times_mjd, positions @ enu_axes()[:2].T)[:, :, None]
    ant1, ant2 = np.triu_indices(len(used))
    names = [stations.names[i] for i in used]
    separation = np.stack(
        [geometry.separation(ha - west, apparent_dec, dec) for west, dec in _beam_centres(options, pointing)]
    )
    receiver_gain, receiver_noise = _receivers(options, names, near_sources, separation)
    return TileModel(
        options=options,
        key=tile_key(start_mjd),
        dec_deg=dec_deg,
        times_jd=times_jd,
        sources=near_sources,
        separation_rad=separation,
        path_m=np.ascontiguousarray(path),
        rate_m_s=np.ascontiguousarray(rate),
        extent_m=source_extent(near_sources, positions, times_jd, pointing),
        stopper_rate_m_s=geometry.stopper_rate(stated, pointing),
        positions_m=positions,
        antenna_numbers=stations.numbers[used],
        alive=np.array([n not in options.dead_antennas for n in names]),
        receiver_gain=receiver_gain,
        receiver_noise=receiver_noise,
        antenna_gains=antenna_gains,
        bursts=bursts,
        ant1=ant1,
        ant2=ant2,
    )


def _seen(
    options: SimOptions,
    sources: list[Source],
    ra_deg: np.ndarray,
    dec_deg: np.ndarray,
    jd: float,
    pointing_rad: float,
) -> np.ndarray:
    """Return the indices of the sources that a tile sees, at its middle.

    Those within the sky radius, of the background those above a twentieth of its limit in the beam; the A-team within
    its own radius.
    """
    near = geometry.separation(*geometry.hour_angle_dec(ra_deg, dec_deg, np.array([jd])), pointing_rad)[0]
    seen = near <= math.radians(options.sky_radius_deg)
    if options.background_min_jy:
        faint = np.array([s.name.startswith("B") and s.flux_jy <= options.background_max_jy for s in sources])
        flux = np.array([s.flux_jy for s in sources])
        power = beam.power(near, np.array(sky.REFERENCE_HZ), options.beam_diameter_m)
        seen &= ~faint | (flux * power >= 0.05 * options.background_min_jy)
    if options.a_team:
        bright = {s.name for s in a_team.sources()}
        named = np.array([s.name in bright for s in sources])
        seen |= named & (near <= math.radians(options.a_team_radius_deg))
    return np.flatnonzero(seen)


def receiver_noise(options: SimOptions, names: Sequence[str]) -> np.ndarray:
    """Return (nant, 2): noise of receivers over that of `sefd_jy`; a visibility has the product of two."""
    draws = [generator(options.seed, Stream.RECEIVER, int(name)).standard_normal(2) for name in names]
    return np.exp(0.5 * options.sefd_scatter * np.array(draws))


def _receivers(
    options: SimOptions, names: list[str], sources: list[Source], separation_rad: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return what receivers and digitisers do to amplitudes and to noise, both (nt, nant, 2)."""
    noise = np.empty((separation_rad.shape[1], len(names), 2))
    noise[:] = receiver_noise(options, names)
    gain = np.ones_like(noise)
    clipped = np.isin(names, options.clipped_antennas)
    if clipped.any():
        centre = np.array([options.band_centre_hz])
        power = (
            beam.power(separation_rad, centre, options.beam_diameter_m) * sky.spectrum(sources, centre)[:, 0]
        )
        total = 1.0 + power.sum(axis=-1).T[:, None, :] / (options.sefd_jy * noise[:, clipped] ** 2)
        gain[:, clipped], worse = clip.gain_and_noise(options.clip_sigma / np.sqrt(total))
        noise[:, clipped] *= worse
    return gain, noise


def source_extent(
    sources: list[Source], positions_m: np.ndarray, times_jd: np.ndarray, pointing_rad: float
) -> np.ndarray:
    """Return (nt, nant, nsrc, 2) m: how far antennas are apart along the axes of Gaussian sources, times their widths.

    A Gaussian of full width w at half maximum shows exp(-(pi w b / lambda)² / (4 ln 2)) of its flux on a baseline whose
    part along that axis is b (Thompson, Moran & Swenson, 3rd ed., table 10.2); here pi w b / (2 sqrt(ln 2)) for each
    axis. b is the path that a step of the source along the axis adds, over the step.
    """
    extent = np.zeros((len(times_jd), len(positions_m), len(sources), 2))
    for k, source in enumerate(sources):
        if not source.major_arcsec > 0.0:
            continue
        angle, cos_dec = math.radians(source.angle_deg), math.cos(math.radians(source.dec_deg))
        for axis, (width, east, north) in enumerate(
            (
                (source.major_arcsec, math.sin(angle), math.cos(angle)),
                (source.minor_arcsec, math.cos(angle), -math.sin(angle)),
            )
        ):
            ends = np.array([-0.5, 0.5]) * EXTENT_STEP_DEG
            ha, dec = geometry.hour_angle_dec(
                source.ra_deg + ends * east / cos_dec, source.dec_deg + ends * north, times_jd
            )
            path, _ = geometry.excess_path(positions_m, ha, dec, pointing_rad)
            apart = (path[..., 1] - path[..., 0]) / math.radians(EXTENT_STEP_DEG)
            extent[:, :, k, axis] = (
                apart * math.pi * math.radians(width / 3600.0) / (2.0 * math.sqrt(math.log(2.0)))
            )
    return extent


def _beam_centres(options: SimOptions, pointing_rad: float) -> list[tuple[float, float]]:
    """Hour angle and declination (rad) that the beams of X and Y point at."""
    centres = []
    for sign in (1.0, -1.0):
        west = math.radians(options.beam_offset_ha_deg + sign * options.beam_squint_ha_deg)
        north = math.radians(options.beam_offset_dec_deg + sign * options.beam_squint_dec_deg)
        centres.append((west / math.cos(pointing_rad), pointing_rad + north))
    return centres


def apparent_by_hand(model: TileModel, freq_hz: np.ndarray) -> np.ndarray:
    """Return (2, nt, nchan, nsrc) Jy: the sources' flux densities times the power beams of X and Y."""
    freq = np.asarray(freq_hz)
    if not model.sources:
        return np.zeros((2, len(model.times_jd), len(freq), 0))
    separation = model.separation_rad[:, :, None, :]
    power = beam.power(separation, freq[:, None], model.options.beam_diameter_m)
    return power * sky.spectrum(model.sources, freq).T


def apparent_flux(model: TileModel, freq_hz: np.ndarray) -> np.ndarray:
    """Return (nt, nchan, nsrc) Jy: the mean of both hands."""
    return apparent_by_hand(model, freq_hz).mean(axis=0)


def noise_sigma_jy(options: SimOptions) -> float:
    """Return the standard deviation (Jy) of the real and of the imaginary part of a visibility.

    SEFD / sqrt(2 dnu dt) (Thompson, Moran & Swenson, 3rd ed., eq. 6.50).
    """
    return options.sefd_jy / math.sqrt(2.0 * options.channel_width_hz * options.integration_s)


def subband_visibilities(model: TileModel, subband: int) -> np.ndarray:
    """Return the visibilities (nt, nbl, nchan, npol), complex64, Jy times gains, of one subband.

    Autocorrelations hold SEFD plus the sky and have noise of SEFD / sqrt(dnu dt). Polarisation products
    other than XX and YY hold noise and interference only.
    """
    options = model.options
    freq = subband_freq_hz(options, subband)
    pairs = POL_PAIRS[options.n_polarizations]
    shape = (len(model.times_jd), len(model.ant1), len(freq), len(pairs))
    vis = np.zeros(shape, np.complex64)
    if options.noise:
        rng = generator(options.seed, Stream.NOISE, model.key, subband)
        flat = vis.reshape(-1).view(np.float32)
        rng.standard_normal(out=flat, dtype=np.float32)
        flat *= np.float32(noise_sigma_jy(options))
    autos = np.flatnonzero(model.ant1 == model.ant2)
    for p, (r1, r2) in enumerate(pairs):
        if r1 == r2:
            vis[:, autos, :, p] = options.sefd_jy + math.sqrt(2.0) * vis[:, autos, :, p].real
        size = model.receiver_noise[:, model.ant1, r1] * model.receiver_noise[:, model.ant2, r2]
        vis[..., p] *= size.astype(np.float32)[:, :, None]
    added = vis.copy() if options.noise_after_electronics else None
    if added is not None:
        vis[...] = 0
    rfi.add(
        vis,
        options=options,
        tile_key=model.key,
        bursts=model.bursts,
        freq_hz=freq,
        ant1=model.ant1,
        ant2=model.ant2,
        antenna_numbers=model.antenna_numbers,
        alive=model.alive,
        rate_m_s=model.stopper_rate_m_s,
        pol_pairs=pairs,
    )
    far.add(vis, model, freq, pairs)
    gain = gains.evaluate(model.antenna_gains, model.times_jd - geometry.MJD_TO_JD, freq).astype(np.complex64)
    gain *= model.receiver_gain[:, :, None, :].astype(np.float32)
    if options.dead_mode == "zeros":
        gain[:, ~model.alive] = 0.0
    step_hz = options.channel_width_hz * (-1.0 if options.descending else 1.0)
    turns = 2j * np.pi / geometry.SPEED_OF_LIGHT_M_S
    half_turn = np.pi / geometry.SPEED_OF_LIGHT_M_S if options.smearing else 0.0
    add_sky(
        vis,
        np.exp(turns * freq[0] * model.path_m),
        np.exp(turns * step_hz * model.path_m),
        model.path_m * (half_turn * options.channel_width_hz),
        model.rate_m_s * (half_turn * freq[0] * options.integration_s),
        step_hz / freq[0],
        model.extent_m * (freq[0] / geometry.SPEED_OF_LIGHT_M_S),
        apparent_by_hand(model, freq),
        gain,
        model.alive,
        model.ant1,
        model.ant2,
        np.array(pairs),
    )
    if added is not None:
        vis += added
    return vis
