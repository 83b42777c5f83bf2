"""Plan a run: which tiles, transits and mosaics it is made of, which jobs it takes, its time and its disk.

Input: the plan that the run froze, and a dry run of the target `all`. Output: `plan/{start}_{end}.html` and `.json`,
written anew each time. Nothing else is made. Settings: all.
"""

import os
from pathlib import Path

from contimg.jobs.orphans import MANIFEST_VARIABLE
from contimg.night.manifest import thaw
from contimg.plan.facts import make, summary
from contimg.run.entry import say

config, night = thaw(Path(os.environ[MANIFEST_VARIABLE]))
facts = make(config, night, target="all", cores=snakemake.threads)
for line in [*summary(facts), *facts["files"]]:
    say(line)
