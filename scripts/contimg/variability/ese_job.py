"""The job of the search: light curves of the tree to candidates, their pages and notices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from contimg.core.angles import wrap_deg
from contimg.core.errors import Rejected
from contimg.core.html import Link
from contimg.core.names import ESE_CANDIDATES, ESE_RECORD
from contimg.core.names import NOTICES as _NOTICES
from contimg.core.products import building, read_json, status, write_json
from contimg.variability.ese_options import EseOptions

if TYPE_CHECKING:
    import pandas as pd

    from contimg.variability.ese import Outcome
    from contimg.variability.series import Series

SCORES = Path("variability/ese_scores.parquet")
PAGES = Path("variability/candidates")
NOTICES = Path(_NOTICES)
BACK = (Link("all products", "../../index.html"), Link("all sources", "../index.html"))
_COLUMNS = (
    "source_id", "mjd", "ra_deg", "dec_deg", "flux_norm", "flux_norm_err", "used", "band_slope", "band_slope_err",
    "pointing_dec_deg", "calibrator", "software", "catalog_digest", "caltable",
)  # fmt: skip


@dataclass(frozen=True)
class EseSearch:
    """Light curves to candidates."""

    curves: str
    options: EseOptions
    threads: int

    def make(self) -> str:
        """Search; write scores, candidates, pages, notices, and last the sidecar."""
        from contimg.variability import ese, notice, vetting
        from contimg.variability.candidates import COLUMNS

        earlier = ese.read_scores(SCORES)
        series = read_series(Path(self.curves))
        if not len(series):
            raise Rejected("no light curves: no mosaic has photometry")
        outcome = ese.run(series, self.options, earlier=earlier, threads=self.threads)
        listed = vetting.with_status(outcome.candidates, vetting.read(vetting.FILE))
        with building(SCORES) as part:
            ese.write_scores(part, outcome)
        before = read_json(NOTICES) if NOTICES.is_file() else []
        with building(PAGES) as part:
            part.mkdir()
            self._pages(part, outcome, listed)
            write_json(
                part / "status.json", {"status": "ok", "reason": None, "pages": len(list(part.iterdir()))}
            )
        write_json(NOTICES, notice.notices(listed, before, whole=not self.options.source_ids))
        with building(Path(ESE_CANDIDATES)) as part:
            listed.to_csv(part, index=False, float_format="%.8g")
        metrics = {
            "sources": len(series),
            "epochs": len(series.mjd),
            "candidates": len(listed),
            "searched_whole": outcome.searched_again,
            "quiet_walk_rms": outcome.prior.quiet_a2**0.5,
            "nulls": ese.tails_as_dict(outcome.tails),
            "nulls_flipped_only_bound": True,
        }
        write_json(Path(ESE_RECORD), self._record(metrics=metrics, columns=COLUMNS))
        return f"{len(listed)} candidates in {len(series)} sources, {len(series.mjd)} epochs"

    def _record(
        self,
        reason: str | None = None,
        metrics: Mapping[str, Any] | None = None,
        columns: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        return {
            **status(
                reason,
                inputs=[self.curves],
                parameters={"ese": self.options.model_dump(mode="json")},
                metrics=dict(metrics or {}),
            ),
            "product": ESE_CANDIDATES,
            "columns": dict(columns or {}),
        }

    def _pages(self, folder: Path, outcome: Outcome, listed: pd.DataFrame) -> None:
        from contimg.variability.notice import records

        for row in records(listed.head(self.options.pages)):
            name = row["source_id"] + ("" if row["event"] == 1 else f"_{row['event']}")
            (folder / f"{name}.html").write_text(page_of(Path(self.curves), outcome, row, above=BACK))

    def reject(self, reason: str) -> None:
        """Leave a table without candidates, and why; what an earlier search found stays."""
        import pandas as pd
        import pyarrow as pa
        import pyarrow.parquet as pq

        from contimg.variability.candidates import COLUMNS

        with building(Path(ESE_CANDIDATES)) as part:
            pd.DataFrame(columns=list(COLUMNS)).to_csv(part, index=False)
        with building(PAGES) as part:
            part.mkdir()
            write_json(part / "status.json", {"status": "rejected", "reason": reason, "pages": 0})
        if not SCORES.is_file():
            with building(SCORES) as part:
                pq.write_table(pa.table({"source_id": pa.array([], pa.string())}), part)
        if not NOTICES.is_file():
            write_json(NOTICES, [])
        write_json(Path(ESE_RECORD), self._record(reason))


def read_series(folder: Path) -> Series:
    """Read the light curves that the search takes, a block of sources at a time."""
    from contimg.variability import curves
    from contimg.variability.ese import joined
    from contimg.variability.series import from_frame

    return joined(
        [from_frame(block.frame()) for block in curves.read_blocks(folder, _COLUMNS) if len(block.table)]
    )


def page_of(
    folder: Path,
    outcome: Outcome,
    candidate: Mapping[str, Any],
    *,
    tree: Path = Path(),
    above: Sequence[Link] = (),
) -> str:
    """Make the page of a candidate from the tree's light curves and mosaics."""
    from contimg.core.provenance import versions
    from contimg.variability import curves, tile_series
    from contimg.variability.candidate_page import Content, page
    from contimg.variability.cutouts import around, cutouts

    series = outcome.series
    s = series.source_ids.index(candidate["source_id"])
    points = curves.read_source(folder, candidate["source_id"])
    points = points[points["used"].astype(bool)].reset_index(drop=True)
    shown = around(
        points["mjd"].tolist(), float(candidate["begin_mjd"]), float(candidate["last_detection_mjd"])
    )
    pictures = cutouts(
        tree, points["mosaic"].astype(str).tolist(), shown, float(series.ra_deg[s]), float(series.dec_deg[s])
    )
    tiles = tile_series.series(tree, points.iloc[shown])
    found = versions()
    commit = found.get("commit", "")[:9]
    return page(
        Content(
            candidate=candidate,
            row=outcome.found[s, int(candidate["event"]) - 1],
            points=points,
            others=beside(series, s),
            cutouts=pictures,
            bands=tile_series.by_mosaic(tiles, points),
            command=f"snakemake --forcerun ese_search {PAGES}  # or: contimg ese --source {candidate['source_id']}",
            made=f"Made {datetime.now(UTC):%Y-%m-%d %H:%M} UTC by contimg {found['contimg']} {commit}",
            above=above,
        )
    )


def beside(series: Series, s: int, *, neighbours: int = 3, references: int = 2) -> dict[str, pd.DataFrame]:
    """Curves to compare with: the nearest sources, and the brightest steady ones within 15 degrees."""
    import numpy as np
    import pandas as pd

    if len(series) < 2 or not np.isfinite(series.ra_deg[s]):
        return {}
    dx = wrap_deg(series.ra_deg - series.ra_deg[s]) * np.cos(np.deg2rad(series.dec_deg[s]))
    distance = np.hypot(dx, series.dec_deg - series.dec_deg[s])
    distance[s] = np.inf
    order = np.argsort(distance)
    nearest = [int(k) for k in order[:neighbours] if np.isfinite(distance[k])]
    field = [int(k) for k in order if distance[k] < 15.0 and int(k) not in nearest]
    error = {k: float(np.median(series.error[series.of(k)])) for k in field}
    steady = sorted(field, key=lambda k: error[k])[:references]
    named = [(k, f"neighbour at {_apart(distance[k])}") for k in nearest]
    named += [(k, f"reference at {_apart(distance[k])}") for k in steady]
    return {
        name: pd.DataFrame({"mjd": series.mjd[series.of(k)], "flux": series.flux[series.of(k)] + 1.0})
        for k, name in named
    }


def _apart(degrees: float) -> str:
    return f"{60 * degrees:.1f}′" if degrees < 1.0 else f"{degrees:.1f}°"
