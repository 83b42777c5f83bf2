"""What to simulate of light curves: one frozen dataclass."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from contimg.core.errors import ConfigError


def _opt(default: Any, text: str) -> Any:
    """Return a dataclass field with a default and the help text of the command line."""
    return field(default=default, metadata={"help": text})


@dataclass(frozen=True)
class LightcurveOptions:
    """Everything that decides simulated photometry, bit for bit.

    Times are UTC, places ICRS, scatters standard deviations of fractions of the flux unless they say otherwise.
    """

    seed: int = _opt(1, "seed of all random numbers")
    start: str = _opt("2025-10-01", "UTC date of the first night")
    days: int = _opt(365, "sidereal days from the first night to the last")
    n_sources: int = _opt(300, "sources, spread evenly over the strip")
    dec_deg: float = _opt(55.0, "declination of the strip, deg")
    ra_min_deg: float = _opt(120.0, "right ascension where the strip begins, deg")
    ra_max_deg: float = _opt(150.0, "right ascension where it ends, deg")
    half_height_deg: float = _opt(1.4, "sources lie within this declination of the strip, deg")
    flux_min_jy: float = _opt(0.003, "faintest source, Jy")
    flux_max_jy: float = _opt(2.0, "brightest source, Jy")
    flux_slope: float = _opt(1.8, "sources number dN/dS ~ S ** -slope")
    width_minutes: float = _opt(60.0, "width of a mosaic's sidereal window, min of LST")
    stride_minutes: float = _opt(30.0, "from one window's middle to the next one's, min of LST")
    rms_jy: float = _opt(0.0003, "noise of a mosaic at the beam's centre, Jy")
    stated_noise: float = _opt(1.0, "the noise that the tables state over the true one")
    gain_rms: float = _opt(0.03, "error of a mosaic's flux scale")
    field_rms: float = _opt(0.01, "its change from the middle of a mosaic to its edge, along each axis")
    season_rms: float = _opt(0.02, "error that goes with the solar time of a right ascension")
    residual_rms: float = _opt(0.004, "error of each flux, shared with nothing")
    edge_rms: float = _opt(0.01, "the same at the half-power radius of the beam, growing with its square")
    stated_calibration: float = _opt(0.03, "the calibration error that the tables state")
    pointing_days: int = _opt(0, "the strip's declination changes every so many days; 0: never")
    pointing_step_deg: float = _opt(0.3, "by how much it changes, and back, deg")
    pointing_rms: float = _opt(0.02, "error of each source's flux, the same for all nights of a pointing")
    calibrator_days: int = _opt(60, "the calibrator changes every so many days; 0: never")
    calibrator_rms: float = _opt(0.02, "error of a calibrator's flux scale")
    gap_fraction: float = _opt(0.1, "part of the nights that are missing, in gaps")
    gap_days: float = _opt(3.0, "mean length of a gap, d")
    lost_fraction: float = _opt(0.03, "part of the mosaics that are rejected, one by one")
    red_fraction: float = _opt(0.1, "part of the sources that vary (damped random walk)")
    red_rms: float = _opt(0.1, "their standard deviation")
    red_days: float = _opt(60.0, "their time of correlation, d")
    outlier_fraction: float = _opt(0.001, "part of the fluxes that are wrong beyond their errors")
    outlier_sigma: float = _opt(8.0, "standard deviation of these, in errors")
    visibility_noise: float = _opt(1.2, "error of the flux from the visibilities over that from the mosaic")
    slope_mean: float = _opt(-0.7, "mean spectral index of the sources")
    slope_rms: float = _opt(0.3, "its scatter from source to source")

    def __post_init__(self) -> None:
        """Refuse what cannot be simulated.

        Raises
        ------
        ConfigError
            Names the option, what was found and what to write.
        """
        try:
            datetime.fromisoformat(self.start)
        except ValueError:
            raise ConfigError(f"start: found {self.start!r}; write a UTC date such as 2025-10-01") from None
        for name in ("days", "n_sources"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name}: found {getattr(self, name)}; write 1 or more")
        if not 0 < self.ra_max_deg - self.ra_min_deg <= 360:
            raise ConfigError(
                f"ra_max_deg: found {self.ra_max_deg:g} after ra_min_deg {self.ra_min_deg:g}; write up to 360 more"
            )
        if not 0 < self.flux_min_jy < self.flux_max_jy:
            raise ConfigError(
                f"flux_min_jy: found {self.flux_min_jy:g}; write more than 0, below flux_max_jy"
            )
        for name in ("gap_fraction", "lost_fraction", "red_fraction", "outlier_fraction"):
            if not 0 <= getattr(self, name) < 1:
                raise ConfigError(
                    f"{name}: found {getattr(self, name):g}; write a fraction from 0 to below 1"
                )
        if 1440 % self.stride_minutes:
            raise ConfigError(
                f"stride_minutes: found {self.stride_minutes:g}, which does not divide 1440; write 30"
            )

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for the truth's file."""
        return dataclasses.asdict(self)
