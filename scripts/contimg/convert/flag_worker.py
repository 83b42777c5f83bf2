"""The process that runs AOFlagger on blocks of baselines, beside the one that writes the Measurement Set.

AOFlagger holds Python's lock while it works, so that threads do not help; a process of its own does. It shares
two arrays with its parent (an anonymous memory file whose descriptor it inherits): the flags of the whole tile
and one block of visibilities. Over one pipe it is told which block lies there, over another it answers when that
block is done. Started by `contimg.convert.flag_process`; it imports nothing but numpy and AOFlagger.
"""

from __future__ import annotations

import json
import mmap
import os
import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray


class Strategy:
    """A loaded AOFlagger strategy, applied to one baseline after the other.

    Parameters
    ----------
    path
        The Lua file.
    of_whole
        Another for baselines of which nothing is flagged yet; the same without it.
    """

    def __init__(self, path: str, of_whole: str | None = None) -> None:
        import aoflagger

        self._library = aoflagger.AOFlagger()
        self._strategy = self._of_whole = self._library.load_strategy_file(path)
        if of_whole is not None:
            self._of_whole = self._library.load_strategy_file(of_whole)

    def flag_block(self, data: NDArray[np.complex64], flags: NDArray[np.bool_]) -> None:
        """Add flags to a block of baselines, in place.

        Parameters
        ----------
        data
            (nt, n, nchan, ncorr).
        flags
            The same shape, true is bad: known flags are left out of the search. What is found in a baseline's
            summed correlations is flagged in all of them.
        """
        n_times, n_baselines, n_chan, n_corr = data.shape
        image = self._library.make_image_set(n_times, n_chan, 1)
        mask = self._library.make_flag_mask(n_times, n_chan, False)
        for b in range(n_baselines):
            known = flags[:, b, :, 0].copy()
            for corr in range(1, n_corr):  # any() along so short an axis takes ten times as long
                known |= flags[:, b, :, corr]
            if known.all():
                continue
            parts = data[:, b].view(np.float32).astype(np.float64)  # squares of 1e20 leave single precision
            amplitude = np.sqrt(np.einsum("tcp,tcp->tc", parts, parts))
            image.set_image_buffer(0, np.ascontiguousarray(amplitude.T))
            mask.set_buffer(np.ascontiguousarray(known.T))
            strategy = self._strategy if known.any() else self._of_whole
            found = strategy.run(image, mask).get_buffer().T
            found &= ~known
            for corr in range(n_corr):
                flags[:, b, :, corr] |= found


def arrays(
    memory: mmap.mmap, shape: tuple[int, int, int, int], block: int, number: int
) -> tuple[NDArray[np.bool_], NDArray[np.complex64]]:
    """View the shared memory: the tile's flags, then one block of visibilities for each worker.

    Parameters
    ----------
    memory
        The mapped memory.
    shape
        (nt, nbl, nchan, ncorr) of the tile.
    block
        Baselines in a block.
    number
        Which worker's block.
    """
    n_times, _, n_chan, n_corr = shape
    n_flags = int(np.prod(shape))
    n_data = n_times * block * n_chan * n_corr
    flags = np.frombuffer(memory, dtype=np.bool_, count=n_flags).reshape(shape)
    offset = aligned(n_flags) + number * aligned(8 * n_data)
    data = np.frombuffer(memory, dtype=np.complex64, count=n_data, offset=offset)
    return flags, data


def aligned(n_bytes: int) -> int:
    """Round up to whole pages."""
    return -(-n_bytes // mmap.PAGESIZE) * mmap.PAGESIZE


def main(arguments: list[str]) -> int:
    """Serve blocks until the pipe of requests is closed.

    The only argument is JSON: `memory`, `requests` and `replies` are inherited descriptors; `size`, `shape`,
    `block`, `number` and `strategies` (one, or two as in `Strategy`) describe the work.
    """
    job: dict[str, Any] = json.loads(arguments[0])
    shape = tuple(job["shape"])
    memory = mmap.mmap(job["memory"], job["size"])
    flags, buffer = arrays(memory, shape, job["block"], job["number"])
    strategy = Strategy(*job["strategies"])
    with os.fdopen(job["requests"], "r") as requests, os.fdopen(job["replies"], "w") as replies:
        print("ready", file=replies, flush=True)
        for line in requests:
            first, count = (int(word) for word in line.split())
            data = buffer[: shape[0] * count * shape[2] * shape[3]].reshape(
                shape[0], count, shape[2], shape[3]
            )
            strategy.flag_block(data, flags[:, first : first + count])
            print("done", file=replies, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
