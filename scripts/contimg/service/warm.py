"""What a service does a moment after it listens: import and read what the first questions need, and keep it."""

from __future__ import annotations

import gc
import logging
import threading

from contimg.service.registry_reader import Unreadable
from contimg.service.tables import Sky

_LOG = logging.getLogger(__name__)
AFTER_S = 1.0
"""So that it listens first."""


def later(sky: Sky) -> threading.Timer:
    """Warm up in a thread, in a moment; end it by `cancel`."""
    timer = threading.Timer(AFTER_S, warm, [sky])
    timer.daemon = True
    timer.start()
    return timer


def warm(sky: Sky) -> None:
    """Import and read; then take what is there out of the collector's rounds.

    A round over all of it takes 0.13 s, in which nobody is answered, and comes every thousand requests.
    """
    import astropy.nddata
    import astropy.wcs  # noqa: F401
    import matplotlib.image  # noqa: F401
    import pyarrow.parquet  # noqa: F401

    import contimg.variability.curves  # noqa: F401

    try:
        sky.read()
    except Unreadable as error:
        _LOG.warning("%s", error)
    gc.collect()
    gc.freeze()
