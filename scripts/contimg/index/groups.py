"""Which raw files make a tile together: decided on headers alone, no file is opened here.

Files whose `time_array[0]` agree within a millisecond are a group. Within it the majority says what declination,
shape and times are right; frequencies say which subband a file is, its label (sbNN) never does. Labels serve
to name what is missing.
"""

from __future__ import annotations

import bisect
import math
import statistics
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from contimg.core.constants import SECONDS_PER_DAY
from contimg.core.names import tile_mjd, tile_name
from contimg.index.band import Band, find_bands
from contimg.index.subband import RawName, SubbandHeader, polarization_words
from contimg.index.tile import Slot

Reader = Literal["auto", "own", "pyuvdata"]
DEC_TOLERANCE_DEG = 0.1
NAME_MARGIN_S = 300.0
"""A name further than this from the start that its header gives is wrong: it could not be found by range."""
NAME_TOLERANCE_S = 120.0
"""A file without a readable header belongs to the tile that its name is this close to."""


SAME_TIME_S = 1e-3
"""Times of one tile's files may differ by this: 25 units in the last place of a JD, 5 mrad on the longest baseline."""
SAME_ARRAY_M = 1e-3
"""`SubbandHeader.array_m` of one array, in files of single and double precision."""


GROWING = "is still being written, or was never finished"
STALE = "has a stale unfinished file beside the finished one"


@dataclass(frozen=True, slots=True)
class RawFile:
    """A raw file: its name, and its header or the reason why there is none."""

    path: str
    name: RawName
    header: SubbandHeader | None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Problem:
    """A file of a group that is not used, and why."""

    label: int
    path: str
    why: str

    @property
    def text(self) -> str:
        """The reason with the name of the file."""
        return f"{self.why} ({Path(self.path).name})"


@dataclass
class Group:
    """Files of one first time: those that agree, and those that do not."""

    reference: SubbandHeader
    members: list[RawFile]
    problems: list[Problem] = field(default_factory=list)

    @property
    def name(self) -> str:
        return tile_name(self.reference.start_mjd)

    @property
    def files(self) -> tuple[str, ...]:
        """All its paths."""
        return tuple(
            sorted({file.path for file in self.members} | {problem.path for problem in self.problems})
        )


@dataclass(frozen=True)
class Fate:
    """What becomes of a group: a tile with its slots, or a reason."""

    tile: str
    start_mjd: float
    reason: str | None
    reference: SubbandHeader | None
    slots: tuple[Slot, ...]
    notes: tuple[str, ...]
    bytes: int
    files: tuple[str, ...]


def decide(
    files: Iterable[RawFile], *, min_subbands: int, exclude: Iterable[str] = (), reader: Reader = "auto"
) -> list[Fate]:
    """Find the groups among raw files and the fate of each.

    Parameters
    ----------
    files
        Raw files of any times and strips, readable or not.
    min_subbands
        A group with fewer good subbands is left out.
    exclude
        Names of tiles to leave out.
    reader
        Which reader is to take the files.

    Returns
    -------
    list of Fate
        In order of time.
    """
    ordered = sorted(files, key=lambda file: file.path)
    groups, homeless = _groups(ordered)
    orphans = _attach(groups, homeless)
    excluded = set(exclude)
    fates = []
    contents = [
        (
            group.reference,
            [(file.header.freq_low_hz, file.name.label) for file in group.members if file.header],
        )
        for group in groups
    ]
    for group, band in zip(groups, find_bands(contents, min_subbands), strict=True):
        fates.append(_fate(group, band, min_subbands, excluded, reader))
    fates = _one_a_name(fates)
    for cluster in _clusters(orphans):
        name = tile_name(min(mjd for mjd, _ in cluster))
        reason = "excluded by configuration" if name in excluded else f"no usable file: {_summary(cluster)}"
        paths = tuple(sorted(problem.path for _, problem in cluster))
        fates.append(Fate(name, tile_mjd(name), reason, None, (), (), 0, paths))
    return sorted(fates, key=lambda fate: (fate.start_mjd, fate.tile, fate.files))


def _groups(files: Sequence[RawFile]) -> tuple[list[Group], list[tuple[float, Problem]]]:
    """Groups by first time; and the files without a usable header, with the time of their names."""
    timed = []
    homeless = []
    for file in files:
        header = file.header
        if header is None:
            text = GROWING if file.name.incomplete else f"cannot be read: {file.error}"
        else:
            off_s = (file.name.mjd - header.start_mjd) * SECONDS_PER_DAY
            if abs(off_s) <= NAME_MARGIN_S:
                timed.append((header.time0_jd, file))
                continue
            text = f"has a name {off_s:+.0f} s from the start in its header: rename it"
        homeless.append((file.name.mjd, Problem(file.name.label, file.path, text)))
    together: list[list[RawFile]] = []
    began_jd = -math.inf
    for time0_jd, file in sorted(timed, key=lambda entry: entry[0]):
        if (time0_jd - began_jd) * SECONDS_PER_DAY > SAME_TIME_S:
            together.append([])
            began_jd = time0_jd
        together[-1].append(file)
    by_path = (sorted(files, key=lambda file: file.path) for files in together)
    return _with_late([_agree(files) for files in by_path]), homeless


def _with_late(groups: list[Group]) -> list[Group]:
    """Give a larger group the files of a smaller one that are its missing subbands, begun at another instant.

    They are not used, but neither are they missing: the tile says when they begin.
    """
    kept: list[Group] = []
    for group in sorted(groups, key=lambda group: (-len(group.members), group.reference.time0_jd)):
        main = next((other for other in kept if _is_late(group.reference, other.reference)), None)
        if main is None or _frequencies(group) & _frequencies(main):
            kept.append(group)
            continue
        for file in group.members:
            late_s = (group.reference.time0_jd - main.reference.time0_jd) * SECONDS_PER_DAY
            steps = late_s / main.reference.integration_s
            words = (
                f" ({round(steps):+d} integrations)"
                if round(steps) and abs(steps - round(steps)) < 0.01
                else ""
            )
            why = f"left out: its times are {late_s:+.4g} s from the others'{words}"
            main.problems.append(Problem(file.name.label, file.path, why))
        main.problems.extend(group.problems)
    return sorted(kept, key=lambda group: group.reference.time0_jd)


def _is_late(one: SubbandHeader, main: SubbandHeader) -> bool:
    """Whether a group may be a part of a larger one that began at another instant."""
    reach_s = 0.5 * main.n_times * main.integration_s
    return (
        abs(one.time0_jd - main.time0_jd) * SECONDS_PER_DAY < reach_s
        and abs(one.dec_rad - main.dec_rad) <= math.radians(DEC_TOLERANCE_DEG)
        and one.n_channels == main.n_channels
    )


def _frequencies(group: Group) -> set[int]:
    """Lowest channels of a group's files, in channels."""
    width_hz = group.reference.channel_width_hz
    return {round(file.header.freq_low_hz / width_hz) for file in group.members if file.header}


def _layout(header: SubbandHeader) -> tuple[object, ...]:
    """What all files of a group must share beside the declination."""
    return (
        header.n_times,
        header.n_baselines,
        header.n_antennas_data,
        round(header.integration_s, 6),
        header.n_channels,
        round(header.channel_width_hz, 3),
        header.polarizations,
        round(header.longitude_deg, 7),
        round(header.latitude_deg, 7),
        header.antennas,
    )


def _agree(files: list[RawFile]) -> Group:
    """Split the files of one first time into the majority and those that differ from it."""
    kinds: dict[tuple[object, ...], list[RawFile]] = defaultdict(list)
    for file in files:
        if file.header is not None:
            header = file.header
            key = *_layout(header), header.time_last_jd, header.dec_rad, header.array_m
            kinds[key].append(file)
    ranked = sorted(kinds.values(), key=lambda kind: -len(kind))  # stable: ties go to the first path
    if len(ranked) > 1:
        ranked.sort(
            key=lambda kind: -sum(len(other) for other in ranked if _difference(other[0], kind[0]) is None)
        )
    first = ranked[0][0]
    if first.header is None:
        raise ValueError("a group needs a header")
    group = Group(first.header, [])
    for kind in ranked:
        difference = _difference(kind[0], first)
        for file in kind:
            if difference is None:
                group.members.append(file)
            else:
                group.problems.append(Problem(file.name.label, file.path, f"left out: {difference}"))
    return group


def _difference(file: RawFile, reference: RawFile) -> str | None:
    """In words, what sets a file apart from the majority; None if nothing does."""
    one, other = file.header, reference.header
    if one is None or other is None:
        return "no header"
    if abs(one.dec_rad - other.dec_rad) > math.radians(DEC_TOLERANCE_DEG):
        return f"declination {math.degrees(one.dec_rad):.3f} deg, the others' is {math.degrees(other.dec_rad):.3f}"
    if (
        _layout(one) == _layout(other)
        and abs(one.time_last_jd - other.time_last_jd) * SECONDS_PER_DAY <= SAME_TIME_S
        and abs(one.array_m - other.array_m) <= SAME_ARRAY_M
    ):
        return None
    mine, theirs = _shape_text(one), _shape_text(other)
    if mine != theirs:
        return f"{mine}; the others hold {theirs}"
    if one.antennas != other.antennas or abs(one.array_m - other.array_m) > SAME_ARRAY_M:
        return "its antennas have other names, numbers or positions than the others'"
    return "its times or site differ from the others'"


def _shape_text(header: SubbandHeader) -> str:
    return (
        f"{header.n_times} integrations of {header.integration_s:.6g} s, {header.n_baselines} baselines, "
        f"{header.n_channels} channels of {header.channel_width_hz / 1e3:.6g} kHz, polarisations "
        f"{polarization_words(header.polarizations)}"
    )


def _attach(groups: list[Group], homeless: list[tuple[float, Problem]]) -> list[tuple[float, Problem]]:
    """Give files without a usable header to the group nearest to their names; returns those far from any."""
    placed = sorted(
        ((statistics.median(file.name.mjd for file in group.members), group) for group in groups),
        key=lambda entry: (entry[0], entry[1].reference.time0_jd),
    )
    times = [entry[0] for entry in placed]
    orphans = []
    for mjd, problem in homeless:
        at = bisect.bisect(times, mjd)
        near = min(placed[max(at - 1, 0) : at + 1], key=lambda entry: abs(entry[0] - mjd), default=None)
        if near is not None:
            header = near[1].reference
            reach_s = min(NAME_TOLERANCE_S, 0.5 * header.n_times * header.integration_s)
            if abs(near[0] - mjd) * SECONDS_PER_DAY <= reach_s:
                near[1].problems.append(problem)
                continue
        orphans.append((mjd, problem))
    return orphans


def _clusters(orphans: list[tuple[float, Problem]]) -> list[list[tuple[float, Problem]]]:
    """Orphans by the tile they must have belonged to: names within the tolerance of the earliest."""
    clusters: list[list[tuple[float, Problem]]] = []
    for mjd, problem in sorted(orphans, key=lambda entry: (entry[0], entry[1].path)):
        if clusters and (mjd - clusters[-1][0][0]) * SECONDS_PER_DAY <= NAME_TOLERANCE_S:
            clusters[-1].append((mjd, problem))
        else:
            clusters.append([(mjd, problem)])
    return [sorted(cluster, key=lambda entry: (entry[1].label, entry[1].path)) for cluster in clusters]


def _summary(cluster: list[tuple[float, Problem]]) -> str:
    """What is wrong with the files of a cluster, those with the same fault together."""
    labels: dict[str, list[str]] = defaultdict(list)
    for _, problem in cluster:
        labels[problem.why].append(f"sb{problem.label:02d}")
    return "; ".join(f"{', '.join(which)} {why}" for why, which in labels.items())


def _preference(file: RawFile, start_mjd: float) -> tuple[float, int, str]:
    """Order among files of one subband: name nearest to the header's start, then the plainest name, then path."""
    return abs(file.name.mjd - start_mjd), len(file.name.suffix), file.path


def _slot(files: Sequence[RawFile], kept: SubbandHeader, reader: Reader) -> Slot:
    """The slot of a subband, of which there are some files: the first is kept."""
    used: Reader = "pyuvdata" if kept.foreign is not None else reader
    spares = tuple(file.path for file in files[1:])
    return Slot(kept.path, kept.freq_low_hz, kept.n_channels, kept.channel_width_hz, used, spares)


def _oddities(used: Sequence[RawFile]) -> list[str]:
    """What is odd of the files that are used, those with the same words together."""
    said: dict[str, list[str]] = defaultdict(list)
    for file in used:
        header = file.header
        if header is not None:
            foreign = [] if header.foreign is None else [f"read by pyuvdata, slower: {header.foreign}"]
            for words in [*header.odd, *foreign]:
                said[words].append(f"sb{file.name.label:02d}")
    return [
        words if len(which) == len(used) else f"{', '.join(sorted(which))}: {words}"
        for words, which in said.items()
    ]


def _fate(group: Group, band: Band, min_subbands: int, excluded: set[str], reader: Reader) -> Fate:
    """Fill the slots of a band's grid with a group's files and decide."""
    header = group.reference
    by_slot: dict[int, list[RawFile]] = defaultdict(list)
    problems = list(group.problems)
    for file in group.members:
        slot = band.slot(file.header.freq_low_hz) if file.header is not None else None
        if slot is None:
            why = "left out: another band than the others'"
            problems.append(Problem(file.name.label, file.path, why))
        else:
            by_slot[slot].append(file)
    slots: list[Slot] = []
    notes: list[str] = []
    used: list[RawFile] = []
    size = 0
    for number in band.grid:
        files = sorted(by_slot[number], key=lambda file: _preference(file, header.start_mjd))
        if files and (kept := files[0].header) is not None:
            slots.append(_slot(files, kept, reader))
            used.append(files[0])
            size += kept.size_bytes
            notes.extend(
                f"{band.title(number)} twice: kept {Path(kept.path).name}, left {Path(spare.path).name}"
                for spare in files[1:]
            )
        else:
            slots.append(Slot(None, band.freq_low_hz(number), header.n_channels, header.channel_width_hz))
    present = [number for number in band.grid if by_slot[number]]
    notes.extend(_oddities(used))
    missing = _missing(band, [number for number in band.grid if not by_slot[number]], present, problems)
    others = _others(problems, {file.name.label for file in used})
    reason = None
    if group.name in excluded:
        reason = "excluded by configuration"
    elif len(present) < min_subbands:
        reason = f"{len(present)} of {max(band.expected, min_subbands)} subbands: " + "; ".join(
            [*missing, *others]
        )
        if min_subbands < band.expected:
            reason += f" (min_subbands is {min_subbands})"
    return Fate(
        tile=group.name,
        start_mjd=header.start_mjd,
        reason=reason,
        reference=header,
        slots=tuple(slots),
        notes=(*notes, *(f"{text}: flagged" for text in missing), *others),
        bytes=size,
        files=group.files,
    )


def _others(problems: Iterable[Problem], used: set[int]) -> list[str]:
    """Say what is wrong with files that explain no missing subband; an unfinished one may lie beside a finished one."""
    texts = []
    for problem in problems:
        stale = problem.why == GROWING and problem.label in used
        told = replace(problem, why=STALE) if stale else problem
        texts.append(f"sb{told.label:02d} {told.text}")
    return texts


def _missing(band: Band, numbers: list[int], present: list[int], problems: list[Problem]) -> list[str]:
    """Say what is missing and why; problems that explain a missing subband are taken out of `problems`."""
    texts, plain = [], []
    known = {band.labels[number] for number in present if number in band.labels}
    for number in numbers:
        label = band.labels.get(number)
        why = [problem for problem in problems if problem.label == label]
        for problem in why:
            problems.remove(problem)
        if why:
            texts.append(
                f"{band.title(number)} ({band.range_text([number])}) {'; '.join(p.text for p in why)}"
            )
        else:
            plain.append(number)
    if plain:
        titles = ", ".join(band.title(number) for number in plain)
        texts.append(f"missing {titles} ({band.range_text(plain)})")
    unplaced = band.expected - len(band.grid)
    if unplaced > 0:
        labels = [
            f"sb{label:02d}"
            for label in range(band.expected)
            if label not in set(band.labels.values()) | known
        ]
        named = f" ({', '.join(labels)})" if len(labels) == unplaced else ""
        texts.append(f"missing {unplaced} of unknown frequency{named}")
    return texts


def _one_a_name(fates: list[Fate]) -> list[Fate]:
    """Where two groups round to the same name, only the one with more subbands may have it."""
    by_name: dict[str, list[Fate]] = defaultdict(list)
    for fate in fates:
        by_name[fate.tile].append(fate)
    kept = []
    for same in by_name.values():
        same.sort(key=lambda fate: (-sum(slot.path is not None for slot in fate.slots), fate.start_mjd))
        kept.append(same[0])
        for fate in same[1:]:
            apart_s = (fate.start_mjd - same[0].start_mjd) * SECONDS_PER_DAY
            reason = (
                f"another group of more subbands has this name: the first integration of these {len(fate.files)} "
                f"files starts {apart_s:+.4f} s from it"
            )
            kept.append(Fate(fate.tile, fate.start_mjd, reason, None, (), (), 0, fate.files))
    return kept
