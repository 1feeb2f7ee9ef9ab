"""Runs as JUnit XML: a suite per run, a case per criterion; a failure is a failure, what could not be told is an error."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree as xml

from ci.record import Criterion, Run

_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML cannot hold even escaped, which a broken file's error message may quote."""


def write(runs: Sequence[Run], path: Path) -> None:
    """`path` holds the runs, readable by whatever reads JUnit. A criterion that does not gate is never a failure."""
    root = xml.Element("testsuites", name="gymkhana", tests=str(sum(len(run.criteria) for run in runs)))
    for run in runs:
        root.append(_suite(run))
    xml.indent(root)
    xml.ElementTree(root).write(path, encoding="utf-8", xml_declaration=True)


def _suite(run: Run) -> xml.Element:
    gating = [one for one in run.criteria if one.gates]
    suite = xml.Element(
        "testsuite",
        name=run.drill,
        timestamp=run.began,
        time=f"{run.duration_s:.3f}",
        tests=str(len(run.criteria)),
        failures=str(sum(one.result == "fail" for one in gating)),
        errors=str(sum(one.result == "unknown" for one in gating)),
        skipped="0",
    )
    properties = xml.SubElement(suite, "properties")
    for name, value in (("id", run.id), ("verdict", run.verdict), ("seed", str(run.seed)), ("command", run.command)):
        xml.SubElement(properties, "property", name=name, value=_text(value))
    for criterion in run.criteria:
        suite.append(_case(run, criterion))
    return suite


def _case(run: Run, criterion: Criterion) -> xml.Element:
    case = xml.Element(
        "testcase", classname=f"gymkhana.{run.drill}", name=_text(f"{criterion.id} {criterion.title}"), time="0"
    )
    said = _text(f"goal {criterion.goal}, measured {criterion.measured}. {criterion.why}".strip())
    if criterion.gates and criterion.result != "pass":
        kind = "failure" if criterion.result == "fail" else "error"
        xml.SubElement(case, kind, message=said, type=criterion.id)
    else:
        xml.SubElement(case, "system-out").text = said
    return case


def _text(text: str) -> str:
    return _NOT_XML.sub("\ufffd", text)
