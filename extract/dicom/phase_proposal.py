"""Which phase of the contrast a CT volume shows: decided where all evidence agrees, else proposed to a human.

Evidence: words of the series description; the order of the acquisitions within a study; the delay after the start of the
bolus, where the scanner notes it; the HU of the liver, where a mask of it is given. Tags of phases are often wrong, so that
one contradiction suffices to leave a phase open.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise

from extract.dicom.phase_words import phases_given, phases_named, word_of_doubt
from extract.dicom.series import Volume

ORDER = ("NC", "AP", "PVP", "DP")
"""Phases in the order in which they are acquired."""
DELAYS_S: Mapping[str, tuple[float, float]] = {"AP": (12, 45), "PVP": (50, 100), "DP": (120, 900)}
"""Delays after the start of a bolus at which a phase is acquired; between them, it is either."""
LONGEST_S = 30.0
"""A volume of one phase is acquired within this time, one breath."""
LIVER_HU: Mapping[str, tuple[float, float]] = {
    "NC": (30, 70),
    "AP": (45, 100),
    "PVP": (75, 150),
    "DP": (65, 130),
}
"""Median HU of the liver that the phases allow: 46 to 54, 56 to 72, 88 to 104 and 82 to 92 in three public data sets, with
room for fat, iron and timing."""


@dataclass(frozen=True)
class Proposal:
    """The phase of one volume.

    Attributes:
        phase: its name; None where nothing tells it.
        decided: whether all evidence agrees and is plain.
        evidence: what speaks for it.
        doubts: why it is not decided.
    """

    phase: str | None
    decided: bool = False
    evidence: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()

    @property
    def cell(self) -> str:
        """The cell of the cohort table: a phase, a proposal such as `AP?`, or `?`."""
        return self.phase or "" if self.decided else f"{self.phase or ''}?"


@dataclass
class _Evidence:
    phase: str | None = None
    plain: bool = False
    said: list[str] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)


def propose_phases(
    volumes: Sequence[Volume],
    liver_hu: Mapping[int, float] | None = None,
    given: Mapping[str, str] | None = None,
) -> list[Proposal]:
    """Propose the phase of each volume of one patient.

    Args:
        volumes: of one patient.
        liver_hu: index of a volume -> median HU of its liver.
        given: words of a series description in lower case -> phase, as the user says.

    Returns:
        One proposal for each volume.
    """
    found = [_by_given(volume, given or {}) or _by_words(volume) for volume in volumes]
    for i, (evidence, volume) in enumerate(zip(found, volumes, strict=True)):
        _by_other_words(evidence, volume, given or {})
        _by_duration(evidence, volume)
        _by_delay(evidence, volume)
        _by_liver(evidence, (liver_hu or {}).get(i))
    _by_order(found, volumes)
    _refuse_two_of_a_phase(found)
    if len({volume.first.study for volume in volumes}) > 1:
        for evidence in found:
            evidence.doubts.append(
                "the patient has several studies; delete the rows of those that are not meant"
            )
    return [
        Proposal(
            evidence.phase,
            decided=evidence.phase is not None and evidence.plain and not evidence.doubts,
            evidence=tuple(evidence.said),
            doubts=tuple(evidence.doubts),
        )
        for evidence in found
    ]


def _by_given(volume: Volume, given: Mapping[str, str]) -> _Evidence | None:
    phases = phases_given(volume.first.description, given)
    if not phases:
        return None
    evidence = _Evidence(phases[0] if len(phases) == 1 else None, plain=True)
    evidence.said.append("the series description has a word of the command")
    if len(phases) > 1:
        evidence.doubts.append("its words are those of several phases")
    return evidence


def _by_words(volume: Volume) -> _Evidence:
    evidence = _Evidence()
    for where, text in (
        ("series description", volume.first.description),
        ("protocol name", volume.first.protocol),
    ):
        plain, doubtful = phases_named(text)
        if not plain and not doubtful:
            continue
        words = plain or doubtful
        evidence.said.append(f"the {where} says {' and '.join(repr(word) for word in words.values())}")
        if len(words) > 1:
            evidence.doubts.append(f"the {where} names several phases")
        else:
            evidence.phase = next(iter(words))
            evidence.plain = bool(plain) and where == "series description"
            if not evidence.plain:
                evidence.doubts.append(_why_doubtful(where, next(iter(words.values())), is_plain=bool(plain)))
        break
    else:
        evidence.doubts.append("no word of the series names a phase")
    if volume.part:
        evidence.plain = False
        evidence.doubts.append("one series holds several volumes, of which its words do not tell the phase")
    return evidence


def _why_doubtful(where: str, word: str, *, is_plain: bool) -> str:
    if is_plain:
        return "a protocol name holds for all series of a study"
    return f"{word!r} means other things, too"


def _by_other_words(evidence: _Evidence, volume: Volume, given: Mapping[str, str]) -> None:
    """Doubt a phase beside whose word another one stands, or whose kind of image says that it was computed."""
    if evidence.phase is None:
        return
    for where, text in (
        ("series description", volume.first.description),
        ("kind of image", " ".join(volume.first.image_type)),
    ):
        word = word_of_doubt(text, given)
        if word:
            evidence.doubts.append(f"the {where} says {word!r}, too")


def _by_duration(evidence: _Evidence, volume: Volume) -> None:
    """Doubt a volume that took longer than a phase lasts: a series can hold the chest of one and the abdomen of another."""
    times = [header.acquired for header in volume.stack.slices if header.acquired is not None]
    if len(times) < 2:
        return
    seconds = (max(times) - min(times)).total_seconds()
    if seconds > LONGEST_S:
        evidence.doubts.append(f"its slices were acquired within {seconds:.0f} s, longer than a phase lasts")


def _by_delay(evidence: _Evidence, volume: Volume) -> None:
    delay_s = volume.first.bolus_after_s
    if delay_s is None or delay_s > DELAYS_S["DP"][1]:
        return
    evidence.said.append(f"acquired {delay_s:.0f} s after the start of the bolus")
    fitting = next((phase for phase, (low, high) in DELAYS_S.items() if low <= delay_s <= high), None)
    if evidence.phase is None:
        evidence.phase = fitting
    elif fitting is not None and fitting != evidence.phase:
        evidence.doubts.append(f"the delay is that of {fitting}")


def _by_liver(evidence: _Evidence, liver_hu: float | None) -> None:
    if liver_hu is None:
        return
    evidence.said.append(f"the liver has {liver_hu:.0f} HU")
    if evidence.phase is not None and evidence.phase in LIVER_HU:
        low, high = LIVER_HU[evidence.phase]
        if not low <= liver_hu <= high:
            evidence.doubts.append(f"expected {low:.0f} to {high:.0f} HU in the liver in {evidence.phase}")


def _by_order(found: Sequence[_Evidence], volumes: Sequence[Volume]) -> None:
    """Compare the order of the acquisitions within each study with that of the phases."""
    for study in dict.fromkeys(volume.first.study for volume in volumes):
        timed = [
            (time, i)
            for i, volume in enumerate(volumes)
            if volume.first.study == study and (time := _began(volume)) is not None
        ]
        timed.sort()
        for (before, i), (after, j) in pairwise(timed):
            seconds = (after - before).total_seconds()
            found[j].said.append(f"acquired {seconds:.0f} s after the series before it in its study")
            early, late = found[i].phase, found[j].phase
            if _is_before(late, early) and seconds > 0:
                doubt = f"{early} was acquired before {late}"
                found[i].doubts.append(doubt)
                found[j].doubts.append(doubt)


def _is_before(phase: str | None, other: str | None) -> bool:
    return phase in ORDER and other in ORDER and ORDER.index(phase) < ORDER.index(other)


def _began(volume: Volume) -> datetime | None:
    times = [header.acquired for header in volume.stack.slices if header.acquired is not None]
    return min(times, default=None)


def _refuse_two_of_a_phase(found: Sequence[_Evidence]) -> None:
    for phase in dict.fromkeys(evidence.phase for evidence in found if evidence.phase):
        own = [evidence for evidence in found if evidence.phase == phase]
        if len(own) > 1:
            for evidence in own:
                evidence.doubts.append(f"{len(own)} series of the patient seem to be {phase}; keep one row")
