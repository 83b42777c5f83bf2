"""What to simulate: one frozen dataclass, its presets, and its way to and from JSON."""

from __future__ import annotations

import dataclasses
import types
import typing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from contimg.core.errors import ConfigError

MJD_EPOCH = datetime(1858, 11, 17, tzinfo=UTC)
FAULT_KINDS = {
    "missing_subband": "the subband's file is not there",
    "duplicate_subband": "a second file of the subband, its name 7 s later",
    "incomplete": "the only file ends in _incomplete.hdf5, cut short (whole tile, or the subband given)",
    "stale_incomplete": "a cut-short _incomplete.hdf5 lies beside the finished file",
    "zero_length": "the file is empty",
    "truncated": "the file ends after 60 % of its bytes",
    "garbage": "the file holds random bytes",
    "other_declination": "the file was taken 3 deg further south",
    "all_flagged": "every flag is set (whole tile, or the subband given)",
    "all_zero": "every visibility is zero (whole tile, or the subband given)",
    "missing_tile": "no file of the tile is there: a gap in the night",
}
WHOLE_TILE_FAULTS = ("all_flagged", "all_zero", "incomplete", "missing_tile")


@dataclass(frozen=True)
class Source:
    """A source: ICRS place, flux at 1.4 GHz, and S(nu) = flux_jy * x ** (spectral_index + curvature * log10(x)).

    x = nu / 1.4 GHz.

    A point, or a Gaussian of these axes (full widths at half maximum) whose major axis lies at `angle_deg`, north
    through east.
    """

    name: str
    ra_deg: float
    dec_deg: float
    flux_jy: float
    spectral_index: float = 0.0
    major_arcsec: float = 0.0
    minor_arcsec: float = 0.0
    angle_deg: float = 0.0
    curvature: float = 0.0


@dataclass(frozen=True)
class Jump:
    """What changes at once in an antenna ("all": in every one) at a moment of a tile and stays changed.

    `fraction` is the moment in parts of the tile; the amplitude is multiplied by `factor`, the signal comes `delay_ns`
    later.
    """

    antenna: str
    tile: int
    fraction: float
    factor: float = 1.0
    delay_ns: float = 0.0


@dataclass(frozen=True)
class Variation:
    """A source that is not what it was: tiles that start in [`start`, `stop`) (UTC) see `factor` times its flux."""

    source: str
    factor: float
    start: str
    stop: str

    def factor_at(self, start_mjd: float) -> float:
        """Return what the flux is multiplied by in a tile that starts at an MJD (UTC)."""
        return self.factor if mjd(self.start) <= start_mjd < mjd(self.stop) else 1.0


@dataclass(frozen=True)
class Fault:
    """One fault: its kind (a key of `FAULT_KINDS`), the tile's index and the subband (None: whole tile)."""

    kind: str
    tile: int
    subband: int | None = None


def _opt(default: Any, text: str) -> Any:
    """Return a dataclass field with a default and the help text of the command line."""
    return field(default=default, metadata={"help": text})


@dataclass(frozen=True)
class SimOptions:
    """Everything that decides the simulated files, bit for bit.

    Times are UTC, positions ICRS, the pointing declination is apparent (of date).
    """

    start: str = _opt("2025-10-30T13:00:00", "UTC start of tile 0 (with transit_of only its date counts)")
    transit_of: str = _opt("", "name of a source that transits in the middle of tile transit_tile")
    transit_tile: int = _opt(0, "index of the tile that transit_of transits in")
    dec_deg: float = _opt(55.0, "pointing declination, apparent of date, deg")
    n_tiles: int = _opt(1, "tiles, one after the other without a gap")
    n_integrations: int = _opt(24, "integrations in a tile")
    integration_s: float = _opt(12.884902, "integration time, s")
    n_subbands: int = _opt(16, "subbands, equal parts of the band")
    n_channels: int = _opt(48, "channels in a subband; fewer are wider")
    band_low_hz: float = _opt(1311.25e6, "lower edge of the band, Hz")
    band_high_hz: float = _opt(1498.75e6, "upper edge of the band, Hz")
    n_polarizations: int = _opt(2, "2 (XX, YY) or 4 (XX, XY, YX, YY)")
    descending: bool = _opt(True, "frequencies fall inside a file and from sb00 to the last subband")
    spw_axis: bool = _opt(True, "write the length-1 spectral window axis of the older files")
    antennas: tuple[str, ...] = _opt((), "station names; empty: chosen by n_antennas and max_radius_m")
    n_antennas: int = _opt(96, "number of antennas, spread over arms and outriggers")
    max_radius_m: float = _opt(5000.0, "only stations this close to the crossing of the arms, m")
    dish_diameter_m: float = _opt(4.65, "diameter of the Airy beam and of the header, m")
    true_dish_diameter_m: float = _opt(
        0.0, "diameter of the Airy beam where the header's is wrong, m; 0: the header's"
    )
    beam_offset_ha_deg: float = _opt(0.0, "where both beams point, west of the meridian, deg")
    beam_offset_dec_deg: float = _opt(0.0, "... and north of the pointing declination, deg")
    beam_squint_ha_deg: float = _opt(0.0, "X points this much farther west, Y as much farther east, deg")
    beam_squint_dec_deg: float = _opt(0.0, "X points this much farther north, Y as much farther south, deg")
    sources: tuple[Source, ...] = _opt(
        (),
        "explicit sources: NAME,RA_DEG,DEC_DEG,FLUX_JY[,SPECTRAL_INDEX[,MAJOR_ARCSEC[,MINOR_ARCSEC,ANGLE_DEG]]]",
    )
    far_sources: tuple[Source, ...] = _opt(
        (),
        "sources in far sidelobes, FLUX_JY as it comes through: NAME,RA_DEG,DEC_DEG,FLUX_JY[,SPECTRAL_INDEX]",
    )
    far_drift_deg_per_minute: float = _opt(
        20.0, "standard deviation of the rate of their gains' phases, deg/min"
    )
    far_size_arcmin: float = _opt(0.0, "their width at half power, arcmin")
    sun_jy: float = _opt(
        0.0, "what comes through of the Sun by day, Jy at 1.4 GHz; it moves, and is 30' wide"
    )
    variations: tuple[Variation, ...] = _opt(
        (),
        "sources that change: NAME,FACTOR,START,STOP: tiles that start in between see so many times the flux",
    )
    catalogue: str = _opt("", "CSV of sources: name,ra_deg,dec_deg,flux_jy[,spectral_index]")
    field_density_per_deg2: float = _opt(0.0, "random field sources per square degree of the strip")
    field_half_width_deg: float = _opt(1.5, "field sources lie within this declination of the pointing, deg")
    field_flux_min_jy: float = _opt(0.05, "faintest field source at 1.4 GHz, Jy")
    field_flux_max_jy: float = _opt(1.5, "brightest field source at 1.4 GHz, Jy")
    field_flux_slope: float = _opt(1.8, "field sources number dN/dS ~ S ** -slope")
    field_index_mean: float = _opt(-0.7, "mean spectral index of field sources")
    field_index_scatter: float = _opt(0.2, "standard deviation of the spectral index of field sources")
    field_extended_fraction: float = _opt(0.0, "part of the field sources that are Gaussians")
    field_size_arcsec: float = _opt(30.0, "median width of those at half power, arcsec (ln scatter 0.5)")
    background_min_jy: float = _opt(
        0.0,
        "faintest source of a background that follows published counts (Hopkins et al. 2003); 0: no background",
    )
    background_max_jy: float = _opt(0.05, "brightest source of that background, Jy at 1.4 GHz")
    a_team: bool = _opt(
        False, "Cas A, Cyg A, Tau A and Vir A, with structure, through beam and near sidelobes"
    )
    a_team_radius_deg: float = _opt(
        25.0, "those further than this from the pointing centre are left out, deg"
    )
    field_separation_arcmin: float = _opt(6.0, "least distance between field sources, arcmin")
    sky_radius_deg: float = _opt(5.0, "sources further than this from the pointing centre are left out, deg")
    smearing: bool = _opt(True, "average the fringe over the integration and the channel")
    sefd_jy: float = _opt(6500.0, "system equivalent flux density of one antenna and polarisation, Jy")
    sefd_scatter: float = _opt(0.0, "standard deviation of ln(SEFD) of the antennas")
    noise: bool = _opt(True, "add thermal noise")
    noise_after_electronics: bool = _opt(
        False, "receiver noise joins after the gains, not before (unphysical)"
    )
    clipped_antennas: tuple[str, ...] = _opt((), "names of antennas whose digitisers clip")
    clip_sigma: float = _opt(1.5, "where they do, in standard deviations of the voltage of the noise alone")
    gain_amplitude_scatter: float = _opt(0.1, "standard deviation of ln(gain amplitude)")
    gain_phase_scatter_deg: float = _opt(180.0, "gain phases are uniform within +- this, deg")
    delay_scatter_ns: float = _opt(5.0, "standard deviation of the antennas' delays, ns")
    band_ripple: float = _opt(0.05, "relative amplitude of the ripple across the band")
    band_ripple_period_mhz: float = _opt(90.0, "mean period of that ripple, MHz (each antenna within 20 %)")
    band_slope_db: float = _opt(0.0, "power at the upper edge of the band over that at the lower, dB")
    band_slope_scatter_db: float = _opt(0.0, "standard deviation of that, antenna by antenna, dB")
    band_edge_db: float = _opt(0.0, "power lost at the very edges of the band, dB (positive)")
    band_edge_mhz: float = _opt(6.0, "width of that roll-off, a raised cosine in dB, MHz")
    subband_steps: tuple[float, ...] = _opt(
        (), "amplitude factors of subbands, in turn from the lowest frequency"
    )
    digitiser_scatter: float = _opt(0.0, "standard deviation of ln(amplitude) of each antenna's subbands")
    jumps: tuple[Jump, ...] = _opt((), "jumps: ANTENNA:TILE:FRACTION:FACTOR[:DELAY_NS]; ANTENNA may be all")
    swapped_antennas: tuple[str, ...] = _opt((), "pairs A:B whose cables are exchanged")
    moved_antennas: tuple[str, ...] = _opt(
        (), "NAME:EAST_M:NORTH_M:UP_M: stands so far from its stated place"
    )
    screen_deg: float = _opt(
        0.0, "phase screen of the troposphere: rms phase between antennas 1 km apart, deg at 1.4 GHz"
    )
    screen_speed_m_s: float = _opt(10.0, "speed at which it passes over the array, m/s")
    refraction_arcsec: float = _opt(
        0.0, "rms shift of the whole field by refraction, changing within hours, arcsec"
    )
    refraction_stretch: float = _opt(0.0, "rms of the field's distortion by refraction, arcsec a degree")
    phase_drift: str = _opt("off", "drift of gain phases: off, linear or wander")
    phase_drift_deg_per_hour: float = _opt(5.0, "standard deviation of the drift's rate, deg/hour")
    dead_antennas: tuple[str, ...] = _opt((), "names of antennas without signal")
    sick_antennas: tuple[str, ...] = _opt((), "names of antennas whose phase swings by 60 deg rms in minutes")
    dead_mode: str = _opt("noise", "what dead antennas give: noise or zeros")
    rfi_lines_mhz: tuple[float, ...] = _opt((), "frequencies of persistent narrow lines, MHz")
    rfi_line_width_mhz: float = _opt(0.2, "width of a line, MHz; a wider channel dilutes it")
    rfi_line_jy: float = _opt(300.0, "typical flux density of a line on a baseline, Jy")
    rfi_bursts: int = _opt(0, "broadband bursts in each tile, one integration long")
    rfi_burst_jy: float = _opt(100.0, "typical flux density of a burst on a baseline, Jy")
    seed: int = _opt(1, "seed of everything random")
    faults: tuple[Fault, ...] = _opt((), "faults: KIND:TILE[:SUBBAND]")

    def __post_init__(self) -> None:
        for name in ("n_tiles", "n_integrations", "n_subbands", "n_channels", "n_antennas"):
            _require(getattr(self, name) >= 1, name, getattr(self, name), "at least 1")
        for name in ("integration_s", "dish_diameter_m", "max_radius_m", "rfi_line_width_mhz", "sefd_jy"):
            _require(getattr(self, name) > 0, name, getattr(self, name), "more than 0")
        _require(-90 < self.dec_deg < 90, "dec_deg", self.dec_deg, "between -90 and 90")
        _require(
            self.band_high_hz > self.band_low_hz > 0,
            "band_low_hz, band_high_hz",
            (self.band_low_hz, self.band_high_hz),
            "positive, the lower edge first",
        )
        _require(self.n_polarizations in (2, 4), "n_polarizations", self.n_polarizations, "2 or 4")
        drifts = ("off", "linear", "wander")
        _require(self.phase_drift in drifts, "phase_drift", self.phase_drift, "off, linear or wander")
        _require(self.dead_mode in ("noise", "zeros"), "dead_mode", self.dead_mode, "noise or zeros")
        _require(
            0 < self.field_flux_min_jy < self.field_flux_max_jy,
            "field_flux_min_jy, field_flux_max_jy",
            (self.field_flux_min_jy, self.field_flux_max_jy),
            "positive, the lower limit first",
        )
        for name in ("field_extended_fraction", "band_edge_mhz", "background_min_jy", "true_dish_diameter_m"):
            _require(getattr(self, name) >= 0, name, getattr(self, name), "0 or more")
        _require(self.clip_sigma > 0, "clip_sigma", self.clip_sigma, "more than 0")
        _require(all(f > 0 for f in self.subband_steps), "subband_steps", self.subband_steps, "positive")
        for jump in self.jumps:
            _require(
                0 <= jump.tile < self.n_tiles and 0 <= jump.fraction <= 1 and jump.factor > 0,
                "jumps",
                jump,
                "of a tile that is simulated, a fraction of 0 to 1 and a positive factor",
            )
        for variation in self.variations:
            _require(
                variation.factor >= 0 and mjd(variation.start) < mjd(variation.stop),
                "variations",
                variation,
                "0 or more times the flux, from a time to a later one",
            )
        _require(self.seed >= 0, "seed", self.seed, "0 or more")
        for fault in self.faults:
            check_fault(fault, self.n_tiles, self.n_subbands)

    @property
    def channel_width_hz(self) -> float:
        """Width of a channel (Hz, positive)."""
        return (self.band_high_hz - self.band_low_hz) / (self.n_subbands * self.n_channels)

    @property
    def beam_diameter_m(self) -> float:
        """Diameter (m) that makes the beam: the true one."""
        return self.true_dish_diameter_m or self.dish_diameter_m

    @property
    def band_centre_hz(self) -> float:
        """Middle of the band (Hz): the frequency at which a delay adds no phase."""
        return 0.5 * (self.band_low_hz + self.band_high_hz)


def mjd(utc: str) -> float:
    """Return a time written in ISO 8601 as MJD UTC; raises ConfigError where it is none."""
    try:
        given = datetime.fromisoformat(utc)
    except ValueError as exc:
        raise ConfigError(f"simulate: start is {utc!r}; write UTC like 2025-10-30T13:00:00") from exc
    return (given.replace(tzinfo=given.tzinfo or UTC) - MJD_EPOCH) / timedelta(days=1)


def _require(good: bool, key: str, found: object, expected: str) -> None:
    if not good:
        raise ConfigError(f"simulate: {key} is {found}; write a value that is {expected}")


def check_fault(fault: Fault, n_tiles: int, n_subbands: int) -> None:
    """Refuse a fault of an unknown kind, or of a tile or subband that is not simulated."""
    if fault.kind not in FAULT_KINDS:
        raise ConfigError(
            f"simulate: fault kind {fault.kind!r} is unknown; use one of {', '.join(FAULT_KINDS)}"
        )
    if not 0 <= fault.tile < n_tiles:
        raise ConfigError(
            f"simulate: fault {fault.kind} names tile {fault.tile}; tiles run from 0 to {n_tiles - 1}"
        )
    if fault.subband is None and fault.kind not in WHOLE_TILE_FAULTS:
        raise ConfigError(
            f"simulate: fault {fault.kind} needs a subband; write {fault.kind}:{fault.tile}:SUBBAND"
        )
    if fault.subband is not None and fault.kind == "missing_tile":
        raise ConfigError(f"simulate: fault missing_tile takes no subband; write missing_tile:{fault.tile}")
    if fault.subband is not None and not 0 <= fault.subband < n_subbands:
        raise ConfigError(
            f"simulate: fault {fault.kind} names subband {fault.subband}; the last is {n_subbands - 1}"
        )


def to_dict(options: SimOptions) -> dict[str, Any]:
    """Return the options as plain JSON types."""
    return dataclasses.asdict(options)


def from_dict(values: dict[str, Any]) -> SimOptions:
    """Return options from plain JSON types; raises ConfigError at an unknown key."""
    known = {f.name for f in dataclasses.fields(SimOptions)}
    unknown = sorted(set(values) - known)
    if unknown:
        raise ConfigError(f"simulate: unknown option {', '.join(unknown)}; see contimg simulate --help")
    values = dict(values)
    values["sources"] = tuple(Source(**s) for s in values.get("sources", ()))
    values["far_sources"] = tuple(Source(**s) for s in values.get("far_sources", ()))
    values["faults"] = tuple(Fault(**f) for f in values.get("faults", ()))
    values["variations"] = tuple(Variation(**v) for v in values.get("variations", ()))
    values["jumps"] = tuple(Jump(**j) for j in values.get("jumps", ()))
    for name in (
        "antennas", "dead_antennas", "sick_antennas", "clipped_antennas", "swapped_antennas", "moved_antennas",
        "rfi_lines_mhz", "subband_steps",
    ):  # fmt: skip
        if name in values:
            values[name] = tuple(values[name])
    return SimOptions(**values)


def field_types() -> dict[str, type]:
    """Return each option's type; a tuple's element type for tuples (used to build the command line)."""
    out: dict[str, type] = {}
    for name, hint in typing.get_type_hints(SimOptions).items():
        origin = typing.get_origin(hint)
        out[name] = typing.get_args(hint)[0] if origin in (tuple, types.UnionType) else hint
    return out


DEMO_ANTENNAS = tuple(
    str(n)
    for n in (
        *(1, 3, 6, 11, 15, 20, 25, 29, 33, 36, 40, 43, 47, 51),
        *(68, 70, 73, 77, 81, 85, 89, 93, 96, 99, 102),
        *(103, 104, 105),
    )
)

PRESETS: dict[str, SimOptions] = {
    "plain": SimOptions(
        start="2025-10-30",
        transit_of="0834+555",
        transit_tile=2,
        dec_deg=55.2,
        n_tiles=5,
        n_integrations=12,
        n_channels=12,
        antennas=DEMO_ANTENNAS,
        sources=(Source("0834+555", 128.7287, 55.5725, 8.8, -0.4),),
        field_density_per_deg2=1.8,
        field_flux_slope=1.6,
        phase_drift="linear",
        phase_drift_deg_per_hour=5.0,
        dead_antennas=("36",),
        rfi_lines_mhz=(1350.0, 1395.0, 1405.0, 1422.0, 1475.0),
        rfi_bursts=1,
        seed=110,
        faults=(
            Fault("missing_subband", 0, 7),
            Fault("duplicate_subband", 3, 4),
            Fault("stale_incomplete", 4, 11),
        ),
    ),
    "full-tile": SimOptions(
        start="2025-10-30",
        transit_of="0834+555",
        dec_deg=55.2,
        sources=(Source("0834+555", 128.7287, 55.5725, 8.8, -0.4),),
        field_density_per_deg2=1.0,
        phase_drift="linear",
        rfi_lines_mhz=(1350.0, 1395.0, 1405.0, 1422.0, 1475.0),
        rfi_bursts=2,
        seed=110,
    ),
    "tiny": SimOptions(
        start="2025-10-30",
        transit_of="0834+555",
        dec_deg=55.4,
        n_integrations=4,
        n_channels=4,
        antennas=("1", "20", "33", "51", "70", "85", "102", "103", "104", "116"),
        sources=(Source("0834+555", 128.7287, 55.5725, 8.8, -0.4),),
    ),
}

_ELECTRONICS: dict[str, Any] = {
    "sefd_scatter": 0.1,
    "gain_amplitude_scatter": 0.15,
    "delay_scatter_ns": 6.0,
    "band_ripple": 0.1,
    "band_slope_db": -4.0,
    "band_slope_scatter_db": 1.0,
    "band_edge_db": 6.0,
    "digitiser_scatter": 0.15,
    "screen_deg": 3.0,
}

PRESETS["demo"] = dataclasses.replace(
    PRESETS["plain"],
    **_ELECTRONICS,
    subband_steps=(0.9, 1.0, 1.1),
    beam_squint_ha_deg=0.05,
    beam_squint_dec_deg=-0.03,
    sources=(
        *PRESETS["plain"].sources,
        Source("double-north", 127.9, 55.1, 0.5, -0.8),
        Source("double-south", 127.9, 55.08, 0.35, -0.8),
    ),
    background_min_jy=0.005,
)

PRESETS["realistic"] = dataclasses.replace(
    PRESETS["plain"],
    **_ELECTRONICS,
    field_extended_fraction=0.1,
    field_size_arcsec=20.0,
    background_min_jy=0.003,
    a_team=True,
    refraction_arcsec=1.0,
    refraction_stretch=0.3,
)


def preset(name: str) -> SimOptions:
    """Return the options of a preset; raises ConfigError if there is none of that name."""
    if name not in PRESETS:
        raise ConfigError(f"simulate: preset {name!r} is unknown; use one of {', '.join(PRESETS)}")
    return PRESETS[name]
