"""How much a source varies: the measures of a light curve, and where the population ends.

η and V are those of the LOFAR transients pipeline (Swinbank et al. 2015, A&C 11, 25, eq. 32 and 35): the reduced χ²
about the weighted mean, and the standard deviation over the mean. V_s and m compare two epochs (Mooley et al. 2016, ApJ
818, 105, equations 6 and 7). The von Neumann ratio is the mean squared step over the variance: 2 for white noise.
`sigma_deviation` is the observatory's measure, which cannot exceed (N - 1) / sqrt(N).
"""

from __future__ import annotations

from pathlib import Path

import numba
import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import gammaincc, polygamma

from contimg.core.robust import mad_sigma
from contimg.variability import curves, structure
from contimg.variability.ensemble_kernels import Floats, Ints

_READ = ["ra_deg", "dec_deg", "mjd", "flux_norm", "flux_norm_err", "stat_err_jy", "zero_point"]
_READ += ["pointing_dec_deg", "used"]
_PER_BIN = 100
_FEWEST = 10
_LEAST_SOURCES = 20
_LEAST_EPOCHS = 4


def measure(folder: Path, threshold_sigma: float) -> pd.DataFrame:
    """Measures of every source of the light curves.

    Parameters
    ----------
    folder : Path
        `variability/lightcurves.parquet`.
    threshold_sigma : float
        Both η and V above the population by this much make a source `variable`.

    Returns
    -------
    DataFrame
        One row a source, in order of name: see `COLUMNS`.
    """
    rows = [_of_block(block) for block in curves.read_blocks(folder, _READ)]
    table = pd.concat(rows, ignore_index=True) if rows else pd.DataFrame(columns=list(COLUMNS))
    table = table.sort_values("source_id", ignore_index=True)
    table["eta_sigma"], table["v_sigma"] = excess(table["eta"], table, 1.0), excess(table["v"], table, 0.5)
    table["variable"] = (table["eta_sigma"] > threshold_sigma) & (table["v_sigma"] > threshold_sigma)
    return table[list(COLUMNS)]


def _of_block(block: curves.Block) -> pd.DataFrame:
    """Measures of the sources of a block."""
    used = block["used"]
    counts = np.add.reduceat(used, block.starts[:-1]).astype(np.int64) if len(used) else np.zeros(0, np.int64)
    starts = np.append(0, np.cumsum(counts)).astype(np.int64)
    mjd, flux, error = (block[name][used].astype(float) for name in ("mjd", "flux_norm", "flux_norm_err"))
    noise = block["stat_err_jy"][used].astype(float) / block["zero_point"][used]
    strip = block["pointing_dec_deg"][used].astype(float)
    n = len(block.source_ids)
    found = np.full((n, len(_MEASURES)), np.nan)
    _measures(starts, mjd, flux, error, noise, np.round(strip, 1), found)
    values: dict[str, npt.ArrayLike] = {name: found[:, k] for k, name in enumerate(_MEASURES)}
    dof = np.maximum(counts - 1, 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        chance = np.where(
            dof > 0, gammaincc(np.maximum(dof, 1) / 2.0, found[:, _MEASURES.index("chi2")] / 2.0), np.nan
        )
        values["log10_p"] = np.maximum(np.log10(chance), -300.0)
        values["chi2_nu"] = found[:, _MEASURES.index("chi2")] / np.maximum(counts - values["n_pointings"], 1)  # type: ignore[operator]
    first = block.starts[:-1]
    values |= {
        "source_id": block.source_ids,
        "ra_deg": block["ra_deg"][first],
        "dec_deg": block["dec_deg"][first],
        "n_epochs": counts,
        "n_rows": np.diff(block.starts),
        "n_pointings": np.nan_to_num(found[:, _MEASURES.index("n_pointings")]).astype(int),
    }
    return pd.DataFrame(values).join(structure.by_lag(starts, mjd, flux, error))


_MEASURES = (
    "first_mjd",
    "last_mjd",
    "mean_flux_jy",
    "weighted_mean_jy",
    "weighted_mean_err_jy",
    "median_flux_jy",
    "std_flux_jy",
    "snr_median",
    "eta",
    "v",
    "chi2",
    "vs_max",
    "m_max",
    "von_neumann",
    "sigma_deviation",
    "modulation",
    "repeatability",
    "n_pointings",
)

COLUMNS: dict[str, tuple[str, str]] = {
    "source_id": ("", "IAU name"),
    "ra_deg": ("deg", "right ascension, ICRS"),
    "dec_deg": ("deg", "declination, ICRS"),
    "n_epochs": ("", "epochs that count"),
    "n_rows": ("", "measurements in all"),
    "n_pointings": ("", "declinations of the strip that these epochs were taken at"),
    "first_mjd": ("d", "first epoch that counts, MJD UTC"),
    "last_mjd": ("d", "last epoch that counts"),
    "mean_flux_jy": ("Jy", "mean of flux_norm"),
    "weighted_mean_jy": ("Jy", "mean of flux_norm, weighted by 1 / error²"),
    "weighted_mean_err_jy": ("Jy", "its error"),
    "median_flux_jy": ("Jy", "median of flux_norm"),
    "std_flux_jy": ("Jy", "sample standard deviation of flux_norm"),
    "snr_median": ("", "median of flux over noise"),
    "eta": ("", "reduced χ² about the weighted mean"),
    "v": ("", "standard deviation over mean"),
    "chi2": ("", "χ² about the weighted mean"),
    "chi2_nu": ("", "the same over the epochs less the pointings, each of which has a mean of its own"),
    "log10_p": ("", "logarithm of the chance of such a χ² in a constant source; -300: less"),
    "vs_max": ("", "largest |V_s| of two epochs: difference over its error"),
    "m_max": ("", "|m| of that pair: difference over mean"),
    "vs_mean": ("", "mean |V_s| of pairs, all bins of lag alike"),
    "m_mean": ("", "mean |m| of these pairs"),
    "von_neumann": ("", "mean squared step over variance; 2: white noise, less: slow changes"),
    "sigma_deviation": ("", "largest deviation from the mean over the standard deviation of the same series"),
    "modulation": ("", "standard deviation beyond the errors, over the mean; negative: less than the errors"),
    "repeatability": (
        "",
        "half the range of the middle 68 % of the fluxes beyond the noise, over the median",
    ),
    "eta_sigma": ("σ", "log η above the median source's of this signal to noise"),
    "v_sigma": ("σ", "log V above the median source's of this signal to noise"),
    "variable": ("", "whether both are above the threshold"),
    "vs_lag": ("", "mean |V_s| by lag: 1, 2, 4 … d"),
    "m_lag": ("", "mean |m| by lag"),
    "sf_lag": ("", "structure function by lag: mean squared difference less its error, over mean²"),
    "n_lag": ("", "pairs of each lag"),
}


@numba.njit(cache=True, nogil=True)
def _measures(
    starts: Ints, mjd: Floats, flux: Floats, error: Floats, noise: Floats, strip: Floats, found: Floats
) -> None:
    """Fill the rows of `found` with `_MEASURES`; sources without epochs stay NaN."""
    for s in range(len(starts) - 1):
        f, e = flux[starts[s] : starts[s + 1]], error[starts[s] : starts[s + 1]]
        n = len(f)
        if n == 0:
            continue
        weight, total = 0.0, 0.0
        for k in range(n):
            weight += 1.0 / e[k] ** 2
            total += f[k] / e[k] ** 2
        centre, mean, median = total / weight, np.mean(f), np.median(f)
        chi2, square, far, steps, errors = 0.0, 0.0, 0.0, 0.0, 0.0
        for k in range(n):
            chi2 += ((f[k] - centre) / e[k]) ** 2
            square += (f[k] - mean) ** 2
            errors += e[k] ** 2
            far = max(far, abs(f[k] - mean))
            if k > 0:
                steps += (f[k] - f[k - 1]) ** 2
        row = found[s]
        row[0], row[1] = mjd[starts[s]], mjd[starts[s + 1] - 1]
        row[2], row[3], row[4], row[5] = mean, centre, np.sqrt(1.0 / weight), median
        thermal = noise[starts[s] : starts[s + 1]]
        row[7] = np.median(f / thermal)
        row[17] = len(np.unique(strip[starts[s] : starts[s + 1]]))
        if n < 2:
            continue
        deviation = np.sqrt(square / (n - 1))
        row[6] = deviation
        row[8], row[10] = chi2 / (n - 1), chi2
        row[9] = deviation / mean if mean != 0 else np.nan
        row[11], row[12] = extreme_pair(f, e)
        if square > 0:
            row[13] = steps / square * n / (n - 1)
            row[14] = far / deviation
        beyond = square / (n - 1) - errors / n
        half = 0.5 * (np.percentile(f, 84.135) - np.percentile(f, 15.865))
        row[16] = np.sqrt(max(half**2 - np.mean(thermal**2), 0.0)) / abs(median) if median != 0 else np.nan
        row[15] = np.sign(beyond) * np.sqrt(abs(beyond)) / abs(mean) if mean != 0 else np.nan


@numba.njit(cache=True, nogil=True)
def extreme_pair(f: Floats, e: Floats) -> tuple[float, float]:
    """Largest |V_s| of all pairs, and |m| of that pair, without looking at most pairs.

    No partner of epoch k is farther than the extreme flux, nor more certain than the most certain one: where that bound
    is below what is found already, the epoch is passed over.
    """
    low, high, sure = f.min(), f.max(), e.min()
    bound = np.empty(len(f))
    for k in range(len(f)):
        bound[k] = max(f[k] - low, high - f[k]) / np.sqrt(e[k] ** 2 + sure**2)
    best, modulation = 0.0, 0.0
    for k in np.argsort(-bound):
        if bound[k] <= best:
            break
        for other in range(len(f)):
            value = abs(f[k] - f[other]) / np.sqrt(e[k] ** 2 + e[other] ** 2)
            if value > best:
                best = value
                middle = 0.5 * (f[k] + f[other])
                modulation = abs((f[k] - f[other]) / middle) if middle != 0 else np.nan
    return best, modulation


def excess(values: pd.Series, table: pd.DataFrame, power: float) -> Floats:
    """How far log values stand above the population's of the same signal to noise, in its robust width.

    The width is that of the lower half, which variable sources do not reach, and no less than what noise alone gives
    to as many epochs: the logarithm of a χ² of ν degrees has the variance ψ₁(ν/2). NaN below 20 sources or 4 epochs.

    Parameters
    ----------
    values : Series
        η or V.
    table : DataFrame
        With `snr_median` and `n_epochs`.
    power : float
        The power of χ² that the values go with: 1 for η, 1/2 for V.
    """
    known = (values > 0) & (table["snr_median"] > 0) & (table["n_epochs"] >= _LEAST_EPOCHS)
    found = np.full(len(values), np.nan)
    if known.sum() < _LEAST_SOURCES:
        return found
    snr = np.log10(table.loc[known, "snr_median"].to_numpy(dtype=float))
    logs = np.log10(values[known].to_numpy(dtype=float))
    order = np.argsort(snr, kind="stable")
    bins = np.array_split(order, max(len(order) // _PER_BIN, min(len(order) // _FEWEST, 5)))
    centres = np.array([np.median(snr[rows]) for rows in bins])
    logs = logs - np.interp(snr, centres, [np.median(logs[rows]) for rows in bins])
    below = [logs[rows][logs[rows] <= 0.0] for rows in bins]
    widths = [mad_sigma(values, about=0.0) if len(values) else 0.0 for values in below]
    degrees = table.loc[known, "n_epochs"].to_numpy(dtype=float) - 1.0
    noise = power * np.sqrt(polygamma(1, 0.5 * degrees)) / np.log(10.0)
    found[np.flatnonzero(known)] = logs / np.maximum(np.interp(snr, centres, widths), noise)
    return found
