"""The findings of a project: those a person said to be right are left out, and what many cases share is one finding."""

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.label_places.place import Place
from napari_medseg.core.quality.label_checks import Finding
from napari_medseg.core.records import Case, DismissedFinding, now
from napari_medseg.workflow.workspace import Workspace

MANY_CASES = 5
"""If a label has specks, or holes, in this many cases and in most of all, they are one finding, not one for each."""
SHARED_KINDS = ("specks", "holes")
HAS = " has "
"""Between a label and what it has, in the text of such a finding; numbered objects have others."""

Dismissed = frozenset[tuple[int, str, str]]
"""Case, kind and digest of what a person said to be right."""


@dataclass(frozen=True)
class CaseFinding:
    """One finding and its case; `None` if it is about the whole set.

    `labels_sha256` is the hash of the labels in which it was found. `members` are the findings of single cases that a
    shared one stands for.
    """

    case: Case | None
    finding: Finding
    labels_sha256: str = ""
    members: tuple["CaseFinding", ...] = ()

    @property
    def text(self) -> str:
        """The text of the finding with the name of its case."""
        return self.finding.text if self.case is None else f"{self.case.name}: {self.finding.text}"

    @property
    def can_dismiss(self) -> bool:
        """Whether a person may say that it is right: not what stops training, nor what is about the whole set."""
        return not self.finding.blocking and (self.case is not None or bool(self.members))

    @property
    def spots(self) -> tuple[tuple[Case, Place | None], ...]:
        """Where to look, one after the other; a case without places is looked at as a whole."""
        if self.members:
            return tuple(spot for member in self.members for spot in member.spots[:1])
        if self.case is None:
            return ()
        case = self.case
        return tuple((case, place) for place in self.finding.places) or ((case, None),)

    @property
    def digests(self) -> tuple[str, ...]:
        """What tells whether the labels there have changed: of each place, else of all labels."""
        return tuple(place.digest for place in self.finding.places) or (self.labels_sha256[:16],)


def read_dismissed(ws: Workspace) -> Dismissed:
    """Return what people said to be right. Call it in the main thread, as it uses the database."""
    return frozenset((one.case_id, one.kind, one.place_digest) for one in ws.project.read_records(DismissedFinding))


def hide_blind(ws: Workspace, findings: Sequence[CaseFinding]) -> list[CaseFinding]:
    """Leave out cases that the person who works now reads blind: findings are of the first reader's labels.

    What stops training is told without case and place. Call it in the main thread.
    """
    if not ws.second_readings.are_made:
        return list(findings)
    cases = {case.id: case for one in findings for case in _list_cases(one)}
    blind = {case_id for case_id, case in cases.items() if ws.second_readings.is_blind(case)}
    if not blind:
        return list(findings)
    hidden = [one for one in findings if one.case is not None and one.case.id in blind]
    shown = [_leave_out_members(one, blind) for one in findings if one.case is None or one.case.id not in blind]
    text = "labels of a case that you read blind stop training: its first reader must correct them"
    stops = [
        CaseFinding(None, Finding(one.finding.kind, text, blocking=True)) for one in hidden if one.finding.blocking
    ]
    return shown + stops[:1]


def _list_cases(found: CaseFinding) -> list[Case]:
    return [one.case for one in (found, *found.members) if one.case is not None]


def _leave_out_members(found: CaseFinding, blind: Collection[int]) -> CaseFinding:
    """Leave out where to look in blind cases; how many cases have it is told of all cases together."""
    members = tuple(one for one in found.members if one.case is None or one.case.id not in blind)
    return found if members == found.members else replace(found, members=members)


def dismiss(ws: Workspace, found: CaseFinding) -> None:
    """Remember that a finding is right; it does not come back while the labels at its places are unchanged.

    Raises
    ------
    MedSegError
        If it cannot be right, because it stops training, or if it is about the whole set.
    """
    if not found.can_dismiss:
        raise MedSegError(f"this cannot be right: {found.text}. Correct the labels.")
    with ws.project.transaction():
        for one in found.members or (found,):
            for digest in one.digests if one.case is not None else ():
                assert one.case is not None
                who, kind = ws.reader.key(), one.finding.kind
                ws.project.insert(DismissedFinding(0, one.case.id, kind, digest, who, now()))


def select_findings(findings: Sequence[CaseFinding], dismissed: Dismissed, n_cases: int) -> list[CaseFinding]:
    """Return what a person has to look at, what blocks training first.

    Parameters
    ----------
    findings
        All findings.
    dismissed
        From `read_dismissed`.
    n_cases
        Number of corrections in which they were found.
    """
    left = [one for found in findings if (one := _leave_out_dismissed(found, dismissed)) is not None]
    return sorted(_merge_shared(left, n_cases), key=lambda one: not one.finding.blocking)


def _leave_out_dismissed(found: CaseFinding, dismissed: Dismissed) -> CaseFinding | None:
    if found.case is None or found.finding.blocking:
        return found
    case_id, finding = found.case.id, found.finding
    is_right = [(case_id, finding.kind, digest) in dismissed for digest in found.digests]
    if not any(is_right):
        return found
    places = tuple(place for place, right in zip(finding.places, is_right, strict=False) if not right)
    if not places:
        return None
    text = f"{finding.text}; {sum(is_right)} of them are right, {len(places)} to look at"
    return replace(found, finding=replace(finding, text=text, places=places))


def _merge_shared(findings: Sequence[CaseFinding], n_cases: int) -> list[CaseFinding]:
    """Replace specks or holes of one label in most of many cases by one finding: there they may be normal."""
    alike: dict[tuple[str, int], list[CaseFinding]] = defaultdict(list)
    for one in findings:
        if one.case is not None and one.finding.kind in SHARED_KINDS and HAS in one.finding.text:
            alike[one.finding.kind, one.finding.label].append(one)
    merged = {key: ones for key, ones in alike.items() if len(ones) >= MANY_CASES and 2 * len(ones) > n_cases}
    kept = [one for one in findings if (one.finding.kind, one.finding.label) not in merged or one.case is None]
    for (kind, label), ones in merged.items():
        name = ones[0].finding.text.partition(HAS)[0]
        text = f"{len(ones)} of {n_cases} cases have {kind} of {name}: normal here?"
        kept.append(CaseFinding(None, Finding(kind, text, False, label), members=tuple(ones)))
    return kept
