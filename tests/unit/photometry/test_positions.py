"""The list of sources: names that are truncated and stay, one entry a source, parts in their order."""

import numpy as np
import pandas as pd
import pytest

from contimg.core.errors import InputError
from contimg.photometry import positions


def part(*rows):
    """A catalogue or list: name, ra, dec, flux."""
    return pd.DataFrame(rows, columns=["name", "ra_deg", "dec_deg", "flux_jy"])


def test_names_are_truncated_and_never_rounded():
    # 08:34:54.98 +55:34:21.96: rounding would make 55.0 and 22
    ra, dec = 15 * (8 + 34 / 60 + 54.98 / 3600), 55 + 34 / 60 + 21.96 / 3600
    assert positions.iau_names(np.array([ra]), np.array([dec])) == ["J083454.9+553421"]
    # toward zero at southern declinations: -00:00:59.9 is -000059
    assert positions.iau_names(np.array([0.0]), np.array([-59.9 / 3600])) == ["J000000.0-000059"]
    assert positions.iau_names(np.array([359.99999]), np.array([90.0])) == ["J235959.9+900000"]


def test_a_name_stands_for_a_place_that_has_this_name():
    rng = np.random.default_rng(1)
    ra, dec = rng.uniform(0, 360, 500), np.degrees(np.arcsin(rng.uniform(-1, 1, 500)))
    for name in positions.iau_names(ra, dec):
        place = positions.parse(name)
        assert positions.iau_names(place.ra.deg[np.newaxis], place.dec.deg[np.newaxis]) == [name]


@pytest.mark.parametrize(
    "text",
    [
        "J083454.9+553421",
        "J083454+553421",
        "08h34m54.95s +55d34m21.5s",
        "08:34:54.95 +55:34:21.5",
        "128.72896 55.57264",
    ],
)
def test_a_source_is_found_by_its_name_by_the_observatorys_and_by_coordinates(text):
    listed = positions.assemble(
        part(("a", 15 * (8 + 34 / 60 + 54.93 / 3600), 55 + 34 / 60 + 21.2 / 3600, 1.0), ("b", 128.9, 55.6, 2.0)),
        None, None, same_arcsec=5,
    )  # fmt: skip
    assert positions.lookup(listed, text)["name"].tolist() == ["a"]


def test_what_is_not_listed_and_what_is_no_name_are_told():
    listed = positions.assemble(part(("a", 10.0, 10.0, 1.0)), None, None, same_arcsec=5)
    with pytest.raises(InputError, match="no listed source within 30 arcsec"):
        positions.lookup(listed, "J120000+450000")
    with pytest.raises(InputError, match=r"expected a name such as J083454\.9"):
        positions.lookup(listed, "3C 286 or so")


def test_two_sources_of_one_name_are_told_apart_and_the_brighter_keeps_it():
    same = part(("faint", 10.00001, 20.00001, 0.1), ("bright", 10.0002, 20.0002, 1.0))
    listed = positions.assemble(same, None, None, same_arcsec=0.1).set_index("name")
    assert listed.loc["bright", "source_id"] == "J004000.0+200000"
    assert listed.loc["faint", "source_id"] == "J004000.0+200000b"


def test_of_two_entries_of_one_source_the_earlier_part_stands():
    catalog = part(("cat", 10.0, 20.0, 1.0))
    own = part(("mine", 10.0, 20.0 + 3 / 3600, 0.5), ("new", 10.0, 20.1, np.nan))
    blind = pd.DataFrame(
        {"ra_deg": [10.0, 11.0], "dec_deg": [20.1 + 2 / 3600, 21.0], "flux_jy": 0.01, "n_dates": 3}
    )
    listed = positions.assemble(catalog, own, blind, same_arcsec=5)
    assert listed["origin"].tolist() == ["catalog", "own", "blind"]
    assert listed["n_dates"].tolist() == [0, 0, 3]


def test_a_chain_of_near_entries_keeps_every_second():
    """a near b near c, a far from c: b is a's, c is its own."""
    chain = part(("a", 10.0, 0.0, 3.0), ("b", 10.0, 4 / 3600, 2.0), ("c", 10.0, 8 / 3600, 1.0))
    assert positions.assemble(chain, None, None, same_arcsec=5)["name"].tolist() == ["a", "c"]


def test_new_faint_sources_change_no_name():
    rng = np.random.default_rng(2)
    rows = [
        (f"s{i}", *place, flux)
        for i, (place, flux) in enumerate(
            zip(rng.uniform(10, 10.02, (60, 2)), rng.uniform(1, 2, 60), strict=True)
        )
    ]
    before = positions.assemble(part(*rows), None, None, same_arcsec=0.01).set_index("name")["source_id"]
    more = [(f"t{i}", *place, 0.1) for i, place in enumerate(rng.uniform(10, 10.02, (60, 2)))]
    after = positions.assemble(part(*rows, *more), None, None, same_arcsec=0.01).set_index("name")[
        "source_id"
    ]
    assert after.is_unique
    assert after[before.index].equals(before)


def test_the_digest_of_a_list_tells_places_that_moved_and_not_what_was_found_blind():
    catalog = part(("a", 10.0, 20.0, 1.0), ("b", 11.0, 20.0, 2.0))
    blind = pd.DataFrame({"ra_deg": [12.0], "dec_deg": [20.0], "flux_jy": 0.01, "n_dates": 3})
    moved = catalog.assign(dec_deg=[20.0, 20.0 + 0.1 / 3600])
    digests = [
        positions.digest(positions.assemble(one, None, found, same_arcsec=5))
        for one, found in ((catalog, None), (catalog, blind), (catalog.iloc[::-1], None), (moved, None))
    ]
    assert digests[0] == digests[1] == digests[2] != digests[3]


def test_the_list_is_read_by_declination_and_the_same_list_has_the_same_bytes(tmp_path):
    listed = positions.assemble(
        part(*((f"s{i}", 10.0 * i, float(i), 1.0) for i in range(30))), None, None, same_arcsec=5
    )
    one, two = tmp_path / "one.parquet", tmp_path / "two.parquet"
    positions.write(one, listed)
    positions.write(two, listed.copy())
    assert one.read_bytes() == two.read_bytes()
    assert positions.read(one, dec_deg=(4.5, 7.5))["name"].tolist() == ["s5", "s6", "s7"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name,ra,dec\na,1,2\n", "no column ra_deg or dec_deg among name, ra, dec"),
        ("ra_deg,dec_deg\n1,95\n", "dec_deg from -90 to 90"),
        ("ra_deg,dec_deg\n1,north\n", "expected numbers in ra_deg"),
    ],
)
def test_an_own_list_that_cannot_be_used_is_refused_with_its_fault(tmp_path, text, message):
    path = tmp_path / "mine.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        positions.read_own(path)


def test_an_own_list_needs_no_more_than_places(tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text("ra_deg,dec_deg\n1.5,2.5\n")
    assert positions.read_own(path)[["ra_deg", "dec_deg"]].to_numpy().tolist() == [[1.5, 2.5]]
