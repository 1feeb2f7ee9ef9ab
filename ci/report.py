"""The pages: one run, or a suite of runs, as a single self-contained HTML file.

A page needs no network, no font and no script: scripts only add sorting, a cross-hair and copy buttons, and a content
security policy in the page itself refuses everything else. The words live in `templates/`, the drawings in `charts.py`;
here is what the two are made from. A value that was not measured says so; it is never shown as 0.
"""

from __future__ import annotations

import base64
import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from ci import charts
from ci.figures import NOT_MEASURED, number, percent, seconds, size, words
from ci.panels import Panel, panels
from ci.record import Criterion, Mark, Result, Rpo, Run

TEMPLATES = Path(__file__).parent / "templates"
LISTED_MAX = 1000
"""Lost writes listed on the page; the rest is counted, and named in the files beside it."""
EXAMPLES_MAX = 20
PHASES = ("detect", "decide", "fence", "restore", "replay", "verify", "serve")
BITE = "fault.bite"
FATES = ("taken", "refused", "restored")
WORST_FIRST: dict[Result, int] = {"fail": 0, "unknown": 1, "pass": 2}


def render(run: Run) -> str:
    """The report of one run as a whole HTML page, under 400 kB for a run of five minutes."""
    return page("report.html", run=run, view=_view(run))


def write(run: Run, path: Path) -> None:
    """`path` holds the report of `run`, whole or not at all. Raises `OSError` when it cannot be written."""
    partial = path.with_suffix(".partial")
    partial.write_text(render(run), encoding="utf-8")
    partial.replace(path)


def render_index(runs: Sequence[Run], links: Mapping[str, str]) -> str:
    """The page of a suite: every run's verdict and key figures. `links` gives a run's id the address of its report."""
    verdict = min((run.verdict for run in runs), key=WORST_FIRST.__getitem__, default="unknown")
    longest = max((_recovery_span(run) for run in runs), default=0.0)
    return page(
        "index.html",
        verdict=verdict,
        rows=[(run, links.get(run.id), _recovery_bar(run, longest, 12, named=False)) for run in runs],
        counts=Counter(run.verdict for run in runs),
        recoveries=[run.rto.total_s for run in runs if run.rto and run.rto.total_s is not None],
        losses=[run.rpo for run in runs if run.rpo],
        p95s=[run.baseline.p95_ms for run in runs if run.baseline and run.baseline.p95_ms is not None],
    )


@dataclass(frozen=True, slots=True)
class View:
    """What a report shows beyond the record itself: facts that follow from it, and drawings."""

    fault_s: float | None
    bites: tuple[Mark, ...]
    proofs: list[dict[str, object]]
    criteria: list[Criterion]
    tally: Counter[Result]
    baseline: list[charts.Band]
    axis: charts.Axis
    bands: Markup
    ribbon: Markup
    ticks: Markup
    panels: tuple[Panel, ...]
    recovery: Markup | None
    unexplained_s: float
    loss: Markup
    lost_by_flow: list[tuple[str, int]]
    listed_max: int = LISTED_MAX
    examples_max: int = EXAMPLES_MAX


def _view(run: Run) -> View:
    fault_s = _fault(run)
    bites = tuple(m for m in run.marks if m.name == BITE)
    end = max([run.duration_s, 1.0, *(m.t for m in run.marks), *(t + 1 for t in run.series.t)])
    axis = charts.Axis(0.0, end)
    phases = _phases(run)
    baseline = _baseline_window(run)
    recovery = _recovery_window(run, fault_s)
    shaded = [*baseline, *(phases or recovery)]
    flag = None if fault_s is None else (fault_s, f"{'fault' if bites else 'fault tried'} at {fault_s:.1f} s")
    return View(
        fault_s=fault_s,
        bites=bites,
        proofs=_proofs(run),
        criteria=sorted(run.criteria, key=lambda c: (WORST_FIRST[c.result], not c.gates)),
        tally=Counter(c.result for c in run.criteria),
        baseline=baseline,
        axis=axis,
        bands=charts.bands(axis, shaded, _faults(run)),
        ribbon=charts.ribbon(axis, [*baseline, *recovery], phases, flag, [m.t for m in run.marks]),
        ticks=charts.time_axis(axis),
        panels=panels(run.series, axis),
        recovery=_recovery_bar(run, _recovery_span(run), 40),
        unexplained_s=_unexplained(run),
        loss=_loss_line(run, axis, flag),
        lost_by_flow=Counter(w.flow for w in run.rpo.lost_writes).most_common() if run.rpo else [],
    )


def _proofs(run: Run) -> list[dict[str, object]]:
    """What is recorded as proof that the fault bit; one for each when there were several."""
    told = run.fault.get("proof")
    return [
        proof for proof in (told if isinstance(told, list | tuple) else [told]) if proof and isinstance(proof, dict)
    ]


def _faults(run: Run) -> tuple[float, ...]:
    """When each fault bit, by its proof; when none did, when the first was tried."""
    bites = tuple(m.t for m in run.marks if m.name == BITE)
    return bites or tuple(m.t for m in run.marks if m.name == "fault.begin")[:1]


def _fault(run: Run) -> float | None:
    """The instant that recovery counts from: where its first phase begins, or else the first fault."""
    if run.rto and run.rto.phases:
        return run.rto.phases[0].begin_s
    return next(iter(_faults(run)), None)


def _baseline_window(run: Run) -> list[charts.Band]:
    begin = next((m.t for m in run.marks if m.name == "baseline.begin"), None)
    end = next((m.t for m in run.marks if m.name == "baseline.end"), None)
    if begin is None or end is None:
        return []
    return [charts.Band("baseline", begin, end, f"baseline {end - begin:.0f} s")]


def _recovery_window(run: Run, fault_s: float | None) -> list[charts.Band]:
    if fault_s is None or run.rto is None or run.rto.total_s is None:
        return []
    return [charts.Band("recovery", fault_s, fault_s + run.rto.total_s, f"recovery {seconds(run.rto.total_s)}")]


def _phases(run: Run) -> list[charts.Band]:
    phases = run.rto.phases if run.rto else ()
    return [charts.Band(phase_style(p.name), p.begin_s, p.end_s, p.name) for p in phases]


def _recovery_span(run: Run) -> float:
    """Seconds the recovery bar has to hold: the total, or as far as the phases reach when the total is unknown."""
    phases = run.rto.phases if run.rto else ()
    reached = max((p.end_s for p in phases), default=0.0) - min((p.begin_s for p in phases), default=0.0)
    return max((run.rto.total_s if run.rto else None) or 0.0, reached)


def _recovery_bar(run: Run, span_s: float, height: int, named: bool = True) -> Markup | None:
    phases = _phases(run)
    if not phases or span_s <= 0:
        return None
    says = ", ".join(f"{p.label} {seconds(p.end_s - p.begin_s)}" for p in phases)
    return charts.phase_bar(phases, span_s, height, f"Phases of the recovery: {says}", named)


def _unexplained(run: Run) -> float:
    """Seconds of the recovery that belong to no phase."""
    if run.rto is None or run.rto.total_s is None:
        return 0.0
    return max(0.0, run.rto.total_s - sum(p.end_s - p.begin_s for p in run.rto.phases))


def _loss_line(run: Run, axis: charts.Axis, fault: tuple[float, str] | None) -> Markup:
    lost = None if run.rpo is None else _lost_window(run.rpo, fault[0] if fault else None)
    backups = [(b.taken_s, fate_style(b.fate)) for b in run.backups]
    says = "; ".join(f"backup {n} taken at {b.taken_s:.1f} s, {b.fate}" for n, b in enumerate(run.backups, 1))
    return charts.loss_line(axis, backups, lost, fault, f"Backups along the run: {says or 'none'}")


def _lost_window(rpo: Rpo, fault_s: float | None) -> charts.Band | None:
    """From the earliest lost acknowledgement to the fault or the last lost one, whichever is later."""
    ends = [w.acked_s for w in rpo.lost_writes] + ([] if fault_s is None else [fault_s])
    if not rpo.lost or rpo.seconds is None or not ends:
        return None
    return charts.Band("lost", max(ends) - rpo.seconds, max(ends), f"{rpo.lost:,} lost in {seconds(rpo.seconds)}")


def phase_style(name: str) -> str:
    """The style-sheet class of a recovery phase."""
    return f"p-{name}" if name in PHASES else "p-other"


def fate_style(fate: str) -> str:
    """The style-sheet class of what became of a backup."""
    return fate if fate in FATES else "other"


def page(template: str, **values: object) -> str:
    """A page made from one of the templates."""
    return _environment().get_template(template).render(**values)


@lru_cache(maxsize=1)
def _environment() -> Environment:
    loader = FileSystemLoader(TEMPLATES)
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    filters = (seconds, number, percent, size, phase_style, fate_style, words)
    environment.filters.update({f.__name__: f for f in filters})
    for name in ("style.css", "script.js"):
        text = (TEMPLATES / name).read_text(encoding="utf-8")
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        environment.globals[name.partition(".")[0]] = Markup(text)  # noqa: S704 - our own file
        environment.globals[f"{name.partition('.')[0]}_digest"] = digest
    environment.globals["not_measured"] = NOT_MEASURED
    return environment
