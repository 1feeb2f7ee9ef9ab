"""Runs as JUnit XML: a suite per run, a case per criterion; a failure is a failure, what could not be told is an error."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree as xml

from ci.record import Criterion, Run

_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML cannot hold even escaped, which a broken file's error message may quote."""

EMPTY = Criterion(
    id="VERDICT",
    title="Something was judged",
    goal="at least one gate",
    measured="none",
    result="unknown",
    why="The run holds no criterion that gates.",
)


def write(runs: Sequence[Run], path: Path) -> None:
    """`path` holds the runs, readable by whatever reads JUnit, whole or not at all.

    A criterion that does not gate is never a failure. A run without a gate is one error: a suite of no cases looks green.
    """
    root = xml.Element("testsuites", name="gymkhana")
    root.extend(_suite(run) for run in runs)
    for count in ("tests", "failures", "errors"):
        root.set(count, str(sum(int(suite.get(count, "0")) for suite in root)))
    xml.indent(root)
    partial = path.with_suffix(".partial")
    xml.ElementTree(root).write(partial, encoding="utf-8", xml_declaration=True)
    partial.replace(path)


def _suite(run: Run) -> xml.Element:
    gating = [one for one in run.criteria if one.gates]
    judged = run.criteria if gating else (*run.criteria, EMPTY)
    suite = xml.Element(
        "testsuite",
        name=_text(run.drill),
        timestamp=_text(run.began),
        time=f"{run.duration_s:.3f}",
        tests=str(len(judged)),
        failures=str(sum(one.result == "fail" for one in gating)),
        errors=str(sum(one.result == "unknown" for one in gating or [EMPTY])),
        skipped="0",
    )
    properties = xml.SubElement(suite, "properties")
    for name, value in (("id", run.id), ("verdict", run.verdict), ("seed", str(run.seed)), ("command", run.command)):
        xml.SubElement(properties, "property", name=name, value=_text(value))
    suite.extend(_case(run, criterion) for criterion in judged)
    return suite


def _case(run: Run, criterion: Criterion) -> xml.Element:
    name = f"{criterion.id} {criterion.title}"
    case = xml.Element("testcase", classname=_text(f"gymkhana.{run.drill}"), name=_text(name), time="0")
    said = _text(f"goal {criterion.goal}, measured {criterion.measured}. {criterion.why}".strip())
    if criterion.gates and criterion.result != "pass":
        kind = "failure" if criterion.result == "fail" else "error"
        xml.SubElement(case, kind, message=said, type=_text(criterion.id))
    else:
        xml.SubElement(case, "system-out").text = said
    return case


def _text(text: str) -> str:
    return _NOT_XML.sub("\ufffd", text)
