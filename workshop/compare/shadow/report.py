"""What a shadow found: agreement, early, late, missed and extra, each explained or not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime

from shared.sections.slots import ROUND, SLOT
from workshop.compare.findings import Difference, Findings
from workshop.compare.quantiles import p50_p95
from workshop.compare.shadow.evidence import EARLY, EXTRA, LATE, MISSED, TIMING, UNDECIDED, Evidence, Told, explain_rows
from workshop.compare.shadow.looks import Look
from workshop.compare.shadow.shadow import Shadow

_WORDS = {EXTRA: ("not told", "told"), MISSED: ("told", "not told"), EARLY: ("later", "told"), LATE: ("told", "later")}


def report_shadow(shadow: Shadow) -> Findings:
    """Everything that a run found; reads both databases a last time, as far as they answer."""
    evidence = shadow.finish()
    findings = Findings("Shadow: what the old side did and what we would have done")
    theirs = [one for one in evidence.claims if one.at >= shadow.begun]
    pairs, extra, missed = pair(evidence.told, theirs)
    alike, changed, rows = _rows(evidence)
    sooner = [(one, EARLY) for one, other in pairs if one.slot < other.slot]
    later = [(other, LATE) for one, other in pairs if one.slot > other.slot]
    alone = [*((one, EXTRA) for one in extra), *((one, MISSED) for one in missed)]
    outcomes: Counter[tuple[str, str]] = Counter()
    apart: list[Difference] = []
    for one, what in sorted([*sooner, *later, *alone], key=lambda found: found[0].at):
        name = evidence.explain(one, what)
        if name in (TIMING, UNDECIDED):
            outcomes[what, str(name)] += 1
        else:
            apart.append(_told(evidence, one, what, name))
    findings.add([*rows, *apart, *_never_due(shadow)])
    undecided = [f"{sum(outcomes[what, UNDECIDED] for what in whats):,}" for whats in ((MISSED, LATE), (EXTRA, EARLY))]
    same = len(pairs) - len(sooner) - len(later)
    findings.figures = [
        ("Emails", f"{len(theirs):,}", f"{len(evidence.told):,}"),
        ("The same, in the same slot", f"{same:,}", f"{same:,}"),
        ("The same, a slot before the other side", f"{len(later):,}", f"{len(sooner):,}"),
        ("Met by this side's look alone", f"{outcomes[MISSED, TIMING]:,}", f"{outcomes[EXTRA, TIMING]:,}"),
        ("Not looked at by the other side around it", undecided[0], undecided[1]),
        ("Told after the slot's start, p50 / p95", _after(theirs), _after(evidence.told)),
        ("Sections checked", "", f"{shadow.checks:,}"),
        ("Checks that failed", "", f"{shadow.failed:,}"),
        ("Rows held against ours: alike", f"{alike:,}", ""),
        ("Rows that changed between two looks", f"{changed:,}", ""),
    ]
    if not shadow.checks:
        findings.nothing = "No section was checked: does anybody watch one of this share in the slots of this run?"
    if shadow.stumbles:
        findings.notes.append(f"A database did not answer {shadow.stumbles:,} times; what was missed then is not here.")
    if shadow.left_out:
        findings.notes.append(f"{shadow.left_out:,} checks had no room in their slot: raise --per-minute.")
    return findings


def pair(ours: Iterable[Told], theirs: Iterable[Told]) -> tuple[list[tuple[Told, Told]], list[Told], list[Told]]:
    """(pairs, only ours, only theirs): of one watch and kind, at most a round apart, the nearest first."""
    left, pairs, extra = sorted(theirs, key=lambda told: told.at), [], []
    for one in sorted(ours, key=lambda told: told.at):
        same = [other for other in left if (other.watch, other.kind) == (one.watch, one.kind)]
        near = [other for other in same if abs(other.slot - one.slot) <= ROUND]
        if not near:
            extra.append(one)
            continue
        best = min(near, key=lambda other: abs(other.at - one.at))
        left.remove(best)
        pairs.append((one, best))
    return pairs, extra, left


def _rows(evidence: Evidence) -> tuple[int, int, list[Difference]]:
    alike, changed, found = 0, 0, []
    for section in sorted(evidence.old.sections()):
        same, moved, apart = explain_rows(evidence, section)
        alike, changed = alike + same, changed + moved
        for at, fields, name in apart:
            row, ours = evidence.old.before(section, at), evidence.new.before(section, at)
            words = (_shown(row, fields), _shown(ours, fields))
            found.append(Difference(" ".join(section), _when(at), f"state differs ({', '.join(fields)})", *words, name))
    return alike, changed, found


def _never_due(shadow: Shadow) -> Iterator[Difference]:
    """Sections that the old side looked at and that were never due here in at least a whole round."""
    long_ago = shadow.clock() - ROUND - SLOT
    for section in sorted(shadow.watched.keys() - shadow.due):
        looks = shadow.evidence.old.of(section)
        watched = min(shadow.evidence.joined[section].values()) <= long_ago
        if looks and watched and shadow.begun <= long_ago:
            over = section[0][1:3] < f"{shadow.begun:%y}"
            name = "O16" if over or not shadow.watched[section] else None
            yield Difference(
                " ".join(section), _when(looks[0].at), "checked by one side only", "checked", "never", name
            )


def _told(evidence: Evidence, one: Told, what: str, name: str | None) -> Difference:
    """One difference, with the looks of the side that did not tell, for whoever has to find out why."""
    there, here = _WORDS[what]
    other, before_here = (evidence.old, False) if what in (EXTRA, EARLY) else (evidence.new, True)
    looks = f"; looks around it: {_look(other.before(one.section, one.at), one.kind)}, "
    looks += _look(other.after(one.section, one.at), one.kind)
    words = (there, here + looks) if before_here else (there + looks, here)
    return Difference(" ".join(one.section), _when(one.at), f"{what} ({one.kind})", *words, name)


def _look(look: Look | None, kind: str) -> str:
    if look is None:
        return "none"
    shown = look.shows(kind)
    words = {"seat_available": ("open", "full")}.get(kind, ("named", "nobody named"))
    return f"{look.at.astimezone(UTC):%H:%M} {'unknown' if shown is None else words[0] if shown else words[1]}"


def _shown(look: Look | None, fields: Sequence[str]) -> str:
    if look is None or look.facts is None:
        return ""
    return ", ".join(f"{name}={getattr(look.facts, name)!r}" for name in fields)


def _after(told: Iterable[Told]) -> str:
    return p50_p95([(one.at - one.slot).total_seconds() for one in told], "s")


def _when(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M}"
