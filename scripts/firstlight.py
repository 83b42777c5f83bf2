"""Look whether the raw files of the range bear out what the pipeline takes for granted, as `contimg firstlight` does.

Input: the raw files. Output: `firstlight/firstlight.html` and `.json`, written anew each time; no product depends on
them. The log and the terminal say what is not borne out. Settings: `incoming`, `start`, `end`, `calibrators`,
`catalog`, `calibration`, `beam`.
"""

import os
from pathlib import Path

from contimg.firstlight.job import FirstLight, summary
from contimg.jobs.orphans import MANIFEST_VARIABLE
from contimg.night.manifest import thaw
from contimg.run.entry import say
from contimg.sky.catalog import Catalog

config, _ = thaw(Path(os.environ[MANIFEST_VARIABLE]))
look = FirstLight(
    incoming=config.incoming,
    calibrators=config.calibrators,
    catalog=Catalog.of(config.catalog_params),
    calibration=config.calibration,
    beam=config.beam,
    start_mjd=config.start_mjd,
    end_mjd=config.end_mjd,
)
for line in summary(look.write(Path("firstlight"))):
    say(line)
