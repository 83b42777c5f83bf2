"""Raw files damaged as disks and networks damage them."""

from __future__ import annotations

from pathlib import Path

import h5py


def damage_chunk(path: Path) -> None:
    """Compress the visibilities with a checksum, and write over some bytes of their last chunk: the header is good."""
    with h5py.File(path, "r+") as file:
        values = file["Data/visdata"][()]
        del file["Data/visdata"]
        rows = values.shape[0] // int(file["Header/Ntimes"][()])
        chunks = (rows, *values.shape[1:])
        made = file["Data"].create_dataset(
            "visdata", data=values, chunks=chunks, compression="gzip", fletcher32=True
        )
        chunk = made.id.get_chunk_info(made.id.get_num_chunks() - 1)
    with path.open("r+b") as stream:
        stream.seek(chunk.byte_offset + chunk.size // 3)
        stream.write(b"\xa5" * 64)
