"""What the search for scattering events costs: by sources, by epochs, and for one night more.

    python benchmarks/bench_ese.py [--sources 400] [--threads 2]

Prints wall and CPU seconds with the compiled kernels warm, and the time of 10,000 sources by proportion.
"""

from __future__ import annotations

import argparse
import resource
import time

from benchlib.ese import series_of

from contimg.simulate.survey import SurveyOptions
from contimg.variability import search


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sources", type=int, default=400)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    n, threads = arguments.sources, arguments.threads
    small = series_of(SurveyOptions(n_sources=4, seed=1), [])
    search.search(small, search.learn(small))
    print("| sources | nights | what | wall s | CPU s | CPU ms a source | 10,000 sources, CPU s |")
    print("| ---: | ---: | --- | ---: | ---: | ---: | ---: |")
    cases = [
        (n // 2, 365, False),
        (n, 365, False),
        (n, 365, True),
        (n // 10, 1825, False),
        (n // 10, 3650, False),
    ]
    for sources, days, tonight in cases:
        series = series_of(SurveyOptions(n_sources=sources, days=days, seed=2), [])
        prior = search.learn(series, threads=threads)
        since = float(series.mjd.max()) - 1.0 if tonight else float("-inf")
        wall, cpu = time.perf_counter(), time.process_time()
        search.search(series, prior, since_mjd=since, threads=threads)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        what = "what reaches tonight" if tonight else "all"
        each = 1e3 * cpu / sources
        print(
            f"| {sources} | {days} | {what} | {wall:.1f} | {cpu:.1f} | {each:.1f} | {10.0 * each:.0f} |",
            flush=True,
        )
    print(f"largest resident size: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3:.0f} MB")


if __name__ == "__main__":
    main()
