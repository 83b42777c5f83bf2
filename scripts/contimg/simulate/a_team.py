"""The brightest sources of the northern sky, with as much structure as baselines of 2.6 km see of it.

Flux densities at 1.4 GHz and slopes there are those of the polynomials of Perley & Butler 2017, ApJS 230, 7, to a few
per cent. Sizes: Cas A is a shell of 5', here a Gaussian of half that and one of a third of its flux, narrow; Cyg A two
lobes 115" apart at 109 deg (Carilli & Barthel 1996, A&AR 7, 1); Tau A a filled nebula of 6' by 4'; Vir A a core with
jet and lobes of 40" in a halo.
"""

from __future__ import annotations

from contimg.simulate.options import Source


def sources() -> list[Source]:
    """Return the components: names begin with the source's, fluxes in Jy at 1.4 GHz."""
    return [
        Source("CasA-shell", 350.8583, 58.8117, 1130.0, -0.77, 230.0, 220.0, 0.0),
        Source("CasA-rim", 350.8300, 58.8250, 570.0, -0.77, 70.0, 50.0, 40.0),
        Source("CygA-west", 299.8484, 40.7391, 850.0, -1.05, 22.0, 14.0, 109.0),
        Source("CygA-east", 299.8880, 40.7287, 740.0, -1.05, 24.0, 15.0, 109.0),
        Source("TauA", 83.6331, 22.0145, 830.0, -0.27, 290.0, 200.0, 130.0),
        Source("VirA-core", 187.7059, 12.3911, 140.0, -0.80, 35.0, 16.0, 100.0),
        Source("VirA-halo", 187.7059, 12.3911, 70.0, -0.95, 300.0, 220.0, 150.0),
    ]
