"""Tiles of an imaginary strip for tests of the plan: no files, the sidereal clock only."""

from contimg.core import names
from contimg.index.tile import Slot, Tile

LONGITUDE_DEG = -118.2817


def strip_of_tiles(start="2025-10-30T12:00:00", count=24, dec_deg=55.0, ra_start_deg=120.0, minutes=5.154):
    """Contiguous tiles whose meridian drifts from `ra_start_deg` at the sidereal rate."""
    days = minutes / 1440.0
    tiles = []
    for step in range(count):
        begin = names.tile_mjd(start) + step * days
        ra = (ra_start_deg + (step + 0.5) * days * 360.0 / names.SIDEREAL_DAY) % 360.0
        tiles.append(
            Tile(
                name=names.tile_name(begin),
                start_mjd=begin,
                mid_mjd=begin + days / 2,
                n_times=24,
                integration_s=days * 86400 / 24,
                dec_deg=dec_deg,
                ra_icrs_deg=ra,
                dec_icrs_deg=dec_deg + 0.1,
                longitude_deg=LONGITUDE_DEG,
                latitude_deg=37.23,
                height_m=1188.0,
                slots=(Slot(f"/raw/{step}_sb00.hdf5", 1.31e9, 48, 244140.625),),
                notes=(),
                bytes=10**9,
            )
        )
    return tiles
