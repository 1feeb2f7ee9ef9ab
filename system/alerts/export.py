"""The same rules for Prometheus: a rules file for whoever watches from outside."""

from __future__ import annotations

import json
from collections.abc import Sequence

from system.alerts import durations
from system.alerts.notices import annotations_of
from system.alerts.rules import Rule

HEAD = "# Written by `gymkhana alerts rules export`, from the rules that the service itself looks at.\n"


def prometheus(rules: Sequence[Rule], runbooks: str = "") -> str:
    """The rules file. `runbooks` is put before the path of each runbook, so that the link leads somewhere."""
    return HEAD + "groups:\n  - name: gymkhana\n    rules:\n" + "".join(_rule(rule, runbooks) for rule in rules)


def _rule(rule: Rule, runbooks: str) -> str:
    told = annotations_of(rule)
    told["runbook"] = runbooks + told["runbook"]
    lines = [f"      - alert: {rule.name}", f"        expr: {json.dumps(rule.promql())}"]
    if rule.lasting_s:
        lines.append(f"        for: {durations.promql(rule.lasting)}")
    lines += ["        labels:", f"          severity: {rule.severity}", "        annotations:"]
    lines += [f"          {name}: {json.dumps(text, ensure_ascii=False)}" for name, text in told.items()]
    lines.append('          value: "{{ $value }}"')
    return "\n".join(lines) + "\n"
