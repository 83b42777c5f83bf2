"""Cygnus A in the first sidelobe: neither a point nor in the field that is searched, and 18 Jy bright."""

import numpy as np
import pytest
from casacore import tables

from builders.drift_tiles import average, simulated_ms
from contimg.drift.horizon import near_sidelobes
from contimg.drift.outside import remove_outside
from contimg.ms.private import PrivateSet
from contimg.ms.sets import read_meta
from contimg.simulate import a_team
from contimg.simulate.options import Source
from contimg.telescope.beam import AiryBeam

FIELD = (Source("f", 299.2, 45.3, 3.0, -0.7),)


def visibilities(ms):
    with tables.table(str(ms), ack=False) as table:
        return table.getcol("DATA")[..., [0, -1]]


@pytest.fixture(scope="module")
def tiles(tmp_path_factory):
    """The field alone, and with Cygnus A 4.2 deg south of the pointing; the same noise."""
    folder = tmp_path_factory.mktemp("near")
    lobes = tuple(source for source in a_team.sources() if source.name.startswith("CygA"))
    made = []
    for name, sources in (("alone", FIELD), ("with", (*FIELD, *lobes))):
        how = {"dec_deg": 45.0, "transit_of": "f", "n_integrations": 4, "n_subbands": 8, "n_channels": 6}
        ms = simulated_ms(folder / name, sources, **how)
        made.append(average(ms, folder / f"{name}.averaged.ms", 1))
    return made


def test_cygnus_in_the_first_sidelobe_is_taken_out_lobe_by_lobe(tiles):
    alone, with_it = tiles
    assert near_sidelobes(read_meta(with_it)) == ["Cyg A west", "Cyg A east"]
    field = visibilities(alone)
    before = np.sqrt(np.mean(np.abs(visibilities(with_it) - field) ** 2))
    noise = np.sqrt(2.0) * field.real.std()
    report = remove_outside(PrivateSet(with_it), None, beam=AiryBeam(4.65))
    after = np.sqrt(np.mean(np.abs(visibilities(with_it) - field) ** 2))
    assert before > 3 * noise
    assert report["Cyg A west"]["removed"]
    assert report["Cyg A east"]["removed"]
    # two gains a cell of 91 baselines x 6 channels take up 2/546 of the noise's variance, 6 %, and the 3 Jy source
    # that is
    # in no model, as much again; the lobes' own shapes are left on the longest baselines
    assert after < 0.3 * noise
    assert after < 0.1 * before
