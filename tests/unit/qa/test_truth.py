"""Measured against true: which sources of a simulated sky count, and with what flux."""

from dataclasses import dataclass

import numpy as np
import pytest
from astropy.io.fits import Header

from contimg.qa.truth import compare, error_sigma, judge
from contimg.sky.measure import PixelBeam

N, CELL_DEG, BEAM_DEG, RMS_JY = 301, 5.0 / 3600, 20.0 / 3600, 1e-3


@dataclass
class Source:
    """A simulated source at 1.4 GHz."""

    name: str
    ra_deg: float
    dec_deg: float
    flux_jy: float
    spectral_index: float = 0.0
    major_arcsec: float = 0.0


def header():
    made = Header({"NAXIS": 2, "NAXIS1": N, "NAXIS2": N, "CTYPE1": "RA---SIN", "CTYPE2": "DEC--SIN"})
    made.update(
        CRVAL1=130.0, CRVAL2=0.0, CRPIX1=N // 2 + 1, CRPIX2=N // 2 + 1, CDELT1=-CELL_DEG, CDELT2=CELL_DEG
    )
    made.update(CUNIT1="deg", CUNIT2="deg", BMAJ=BEAM_DEG, BMIN=BEAM_DEG, BPA=0.0, RESTFRQ=1.4e9)
    return made


def source(name, dx_beams, dy_beams, flux_jy, **more):
    """A source so many beams to the west and to the north of the middle."""
    return Source(name, 130.0 - dx_beams * BEAM_DEG, dy_beams * BEAM_DEG, flux_jy, **more)


def sky(sources):
    """What an image shows of them, and the table of what is measured in it."""
    y, x = np.mgrid[:N, :N]
    image, beam = np.zeros((N, N)), PixelBeam.from_header(header())
    for s in sources:
        pixels = (130.0 - s.ra_deg) / CELL_DEG, s.dec_deg / CELL_DEG
        image += s.flux_jy * beam.value(x - N // 2 - pixels[0], y - N // 2 - pixels[1])
    return compare(image, header(), np.full((N, N), RMS_JY), sources)


def test_two_that_the_image_cannot_tell_apart_count_as_one_with_their_flux():
    table = sky([source("A", 0, 0, 1.0), source("B", 0.1, 0, 0.02), source("C", 12, 0, 0.1)])
    assert table["name"].tolist() == ["A", "C"]
    assert table["true_jy"].tolist() == pytest.approx([1.02, 0.1])
    # The pair is a beam at a fiftieth of the distance: broader by 1e-4, so that its peak is right to that.
    assert judge(table).median_ratio == pytest.approx(1.0, abs=1e-3)
    assert judge(table).scatter < 1e-3


def test_two_that_are_a_beam_apart_are_measured_each():
    table = sky([source("A", 0, 0, 1.0), source("B", 1.0, 0, 0.5)])
    assert table["name"].tolist() == ["A", "B"]
    assert table["ratio"].tolist() == pytest.approx([1.0, 1.0], abs=1e-3)


def test_a_resolved_source_and_a_faint_one_do_not_count():
    wide = source("wide", 6, 0, 1.0, major_arcsec=10.0)
    assert sky([source("A", 0, 0, 1.0), wide, source("faint", -6, 0, 5 * RMS_JY)])["name"].tolist() == ["A"]


def test_chance_takes_one_of_many_sources_as_rarely_as_one_of_few():
    errors = np.random.default_rng(1).standard_normal((20_000, 90))
    beyond = [(np.abs(errors[:, :n]) > error_sigma(n)).any(axis=1).mean() for n in (16, 40, 90)]
    # 4.2 % of 20 000 images: known to 0.14 %
    assert beyond == pytest.approx([0.042] * 3, abs=5 * 0.0014)
    assert error_sigma(3) == pytest.approx(3.0)
