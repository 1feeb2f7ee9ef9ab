"""The pages and `gymkhana report`: what they say, what they never say, and what they refuse."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
from html.parser import HTMLParser
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner, Result

from ci import figures, record, report
from ci.cli import gymkhana
from ci.commands.report import NoReport
from tests.ci import sample_run

VOID = {"meta", "link", "input", "br", "hr", "img", "col"}
CLOSED_BY_PARSER = {"td", "tr"}
SHAPES = {"path", "rect", "circle", "line", "use"}
EVERY = ["failing", "passing", "unknown", "crash", "empty", "big", "hostile"]


def page_of(name: str) -> str:
    return report.render(getattr(sample_run, name)())


def text_of(page: str) -> str:
    """What a reader sees, scripts and styles left out, white space folded."""
    body = re.sub(r"<(script|style|title)\b.*?</\1>", " ", page, flags=re.S)
    return " ".join(re.sub(r"<[^>]+>", " ", body).replace("\u00a0", " ").split())


def section(page: str, name: str) -> str:
    start = page.index(f'<section id="{name}">')
    return text_of(page[start : page.index("</section>", start)])


class Outline(HTMLParser):
    """Checks that tags nest, and collects ids, references and names of tags."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.references: list[str] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.ids += [value for name, value in attrs if name == "id" and value]
        self.references += [value for name, value in attrs if name in {"href", "src"} and value]
        if tag not in VOID | CLOSED_BY_PARSER:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in CLOSED_BY_PARSER:
            assert self.open.pop() == tag

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in SHAPES, f"<{tag}/> is not a void element"
        self.handle_starttag(tag, attrs)
        self.open.pop()


@pytest.mark.parametrize("name", EVERY)
def test_page_is_well_formed_and_refers_only_to_itself(name: str) -> None:
    outline = Outline()
    outline.feed(page_of(name))
    assert outline.open == []
    assert len(outline.ids) == len(set(outline.ids))
    assert all(ref == "data:," or ref.removeprefix("#") in outline.ids for ref in outline.references)


@pytest.mark.parametrize("name", EVERY)
def test_page_asks_the_network_for_nothing(name: str) -> None:
    page = page_of(name)
    assert not re.search(r"https?://|@import|url\(|<iframe|<img|\bfetch\(|XMLHttpRequest", page)


def test_content_security_policy_admits_exactly_the_pages_own_script_and_style() -> None:
    page = page_of("failing")
    for tag in ("script", "style"):
        body = re.search(rf"<{tag}>(.*?)</{tag}>", page, re.S)
        assert body
        digest = base64.b64encode(hashlib.sha256(body[1].encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in page
    assert "default-src 'none'" in page


def test_page_needs_no_inline_style_attribute() -> None:
    """The policy would refuse them, silently."""
    assert not re.search(r"<[^>]+\sstyle=", page_of("failing"))


def test_page_of_a_long_run_with_5000_lost_writes_stays_under_400_kb() -> None:
    assert len(page_of("big").encode()) < 400_000


def test_page_is_the_same_for_the_same_run() -> None:
    assert page_of("failing") == page_of("failing")


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("failing", "Fail 2 of 15 criteria failed."),
        ("passing", "Pass 15 of 15 criteria hold."),
        ("unknown", "Unknown 10 of 15 criteria could not be judged, so this is neither a pass nor a fail."),
        ("empty", "Unknown Nothing was judged: the run holds no criteria."),
    ],
)
def test_verdict_is_told_in_words(name: str, says: str) -> None:
    assert says in text_of(page_of(name))


def test_story_tells_load_fault_recovery_and_loss_in_one_sentence() -> None:
    assert (
        "With 1,000 users making 497.9 requests/s, Bit flips in the database file bit at 40.3 s; "
        "writes were served and verified again 6.08 s later, from the backup taken at 16.1 s; "
        "2,471 of 14,187 acknowledged writes (17.4 %) were lost."
    ) in text_of(page_of("failing"))


def test_story_of_a_run_without_proof_claims_nothing() -> None:
    text = text_of(page_of("unknown"))
    assert "was injected at 40.2 s, without proof that it did any harm" in text
    assert "how long recovery took was not measured; what was lost was not measured." in text


def test_criteria_list_failures_first_then_unknowns_and_gates_before_others() -> None:
    run = sample_run.failing()
    unsure = msgspec.structs.replace(run.criteria[0], id="UNSURE", result="unknown", measured="not measured")
    page = report.render(msgspec.structs.replace(run, criteria=(*run.criteria, unsure)))
    ids = re.findall(r'<th scope="row" data-sort="([^"]+)"><span class="name">', page)
    assert ids[:3] == ["RPO", "DATA-ORPHANS", "UNSURE"]
    assert ids[-1] == "LAT-P95-CALM"
    assert len(ids) == 16


def test_criterion_that_does_not_gate_says_so() -> None:
    assert "LAT-P95-CALM does not gate" in section(page_of("passing"), "criteria")


def test_what_was_not_measured_is_never_shown_as_zero() -> None:
    page = page_of("unknown")
    assert "Recovery time RTO not measured" in text_of(page)
    assert "Lost writes RPO not measured" in text_of(page)
    baseline = section(page, "baseline")
    assert "Connections not measured" in baseline
    assert "Memory not measured" in baseline
    assert "Generator not measured" in baseline
    assert "memory not measured" in section(page, "timeline")
    assert "open connections not measured" in section(page, "timeline")
    assert not re.search(r"(?<![\d.])0(\.0+)? (ms|MiB|s|cores)\b", baseline)


def test_seconds_without_a_latency_are_dashes_in_the_table_behind_the_chart() -> None:
    page = page_of("failing")
    table = page[page.index("Latency of successes as a table") :]
    assert "<tr><td>43<td>–<td>–" in table
    assert "<tr><td>39<td>" in table


def test_large_counts_are_written_out_in_the_tables() -> None:
    run = sample_run.failing()
    series = msgspec.structs.replace(run.series, requests=tuple(123_456.0 for _ in run.series.t))
    assert "<tr><td>0<td>123456<td>0" in report.render(msgspec.structs.replace(run, series=series))


def test_measured_zero_is_zero() -> None:
    text = text_of(page_of("crash"))
    assert "Lost writes RPO 0 of 14,187 acknowledged" in text
    assert "Loss reaches back 0 s nothing had to be restored" in text


def test_recovery_names_every_phase_with_its_duration_and_share() -> None:
    recovery = section(page_of("failing"), "recovery")
    for line in ("detect +0.00 s 0.84 s 14 %", "restore +1.31 s 2.35 s 39 %", "serve +5.03 s 1.05 s 17 %"):
        assert line in recovery
    assert "Total 6.08 s 100 %" in recovery
    assert "no phase" not in recovery


def test_recovery_time_that_no_phase_explains_is_shown_as_such() -> None:
    run = sample_run.failing()
    assert run.rto
    gap = msgspec.structs.replace(run.rto, phases=(run.rto.phases[0], run.rto.phases[-1]))
    recovery = section(report.render(msgspec.structs.replace(run, rto=gap)), "recovery")
    assert "no phase 4.19 s 69 %" in recovery


def test_unknown_recovery_says_why() -> None:
    assert "no proof that the fault bit" in section(page_of("unknown"), "recovery")


def test_loss_makes_its_three_statements() -> None:
    loss = section(page_of("failing"), "loss")
    assert "With no restore needed does not apply to this run" in loss
    assert "With the newest backup 2,471 lost" in loss
    assert "With backup and replay does not apply to this run" in loss


def test_backups_show_age_at_the_fault_and_fate() -> None:
    loss = section(page_of("failing"), "loss")
    assert "restored 16.1 s 24.2 s 0.79 s 42.6 MB 6.5 MB" in loss
    assert "refused 34.6 s 5.71 s 0.80 s 44.0 MB 6.7 MB block 17 does not match its digest" in loss


def test_lost_writes_are_listed_up_to_a_bound_and_the_rest_is_counted() -> None:
    run = sample_run.big()
    assert run.rpo
    page = report.render(run)
    loss = section(page, "loss")
    listed = re.search(r"<pre[^>]*>(.*?)</pre>", page, re.S)
    assert listed
    assert listed[1].split() == [w.op for w in run.rpo.lost_writes[: report.LISTED_MAX]]
    assert "4,000 more are not listed here." in loss
    assert "is rpo.lost_writes in run.json" in loss


def test_list_that_the_record_cuts_short_points_at_the_raw_files() -> None:
    run = sample_run.failing()
    assert run.rpo
    cut = msgspec.structs.replace(run.rpo, lost_writes=run.rpo.lost_writes[:10])
    loss = section(report.render(msgspec.structs.replace(run, rpo=cut)), "loss")
    assert "The first 10 lost operation ids" in loss
    assert "2,461 more are not listed here. ledger.jsonl against survivors.jsonl" in loss


def test_every_lost_write_of_a_small_loss_is_on_the_page() -> None:
    loss = section(page_of("passing"), "loss")
    assert "All 577 lost operation ids" in loss
    assert "more are not listed" not in loss


def test_baseline_shows_each_figure_against_its_goal() -> None:
    baseline = section(page_of("failing"), "baseline")
    assert "p95 14.8 ms one in 20 was slower goal ≤ 500 ms : pass goal ≤ 50 ms (does not gate) : pass" in baseline
    assert "Memory 213.4 MiB all processes of the service goal ≤ 300 MiB : pass" in baseline
    assert "goal ≤ 300 MiB : unknown" in section(page_of("unknown"), "baseline")


def test_flows_show_counts_and_percentiles() -> None:
    flows = section(page_of("failing"), "flows")
    assert "score 9,210 1,093 11.9 % 3.6 ms 15.2 ms 44.1 ms" in flows
    assert "log-in 62 9 14.5 % 58.0 ms 171.0 ms not measured" in flows


def test_findings_show_counts_examples_and_what_they_mean() -> None:
    findings = section(page_of("failing"), "findings")
    assert "Lost 2,471 acknowledged, yet gone" in findings
    assert "Orphans 1 rows that point at nothing entry 8812 names tournament 41" in findings
    assert "Altered none" in findings


def test_examples_are_bounded() -> None:
    assert "and 180 more in run.json" in section(page_of("big"), "findings")


def test_findings_of_a_torn_ledger_are_marked_as_no_proof() -> None:
    findings = section(page_of("unknown"), "findings")
    assert "These counts prove nothing by themselves. ledger.jsonl has no end line" in findings


def test_fault_shows_its_proof() -> None:
    fault = section(page_of("failing"), "fault")
    assert "Proof that it bit 40.31 s: 64 bytes in 3 pages of db/gym.db have changed." in fault
    assert "file db/gym.db bytes changed 64 pages 2, 17, 311" in fault


def test_two_faults_show_both_proofs() -> None:
    run = sample_run.failing()
    both = {"name": "two", "proof": [{"file": "a"}, {"file": "b"}]}
    assert "file a file b" in section(report.render(msgspec.structs.replace(run, fault=both)), "fault")


def test_timeline_of_a_run_that_recorded_nothing_says_so() -> None:
    assert section(page_of("empty"), "timeline") == (
        "Timeline Nothing was recorded along this run: requests, latency and the service are not measured ."
    )


def test_fault_without_proof_is_called_out() -> None:
    assert "There is no proof that this fault bit." in section(page_of("unknown"), "fault")
    assert "There is no proof" not in section(page_of("failing"), "fault")


def test_environment_holds_the_command_that_repeats_the_run() -> None:
    environment = section(page_of("failing"), "environment")
    assert "gymkhana drill run corrupt-database --users 1000 --seed 7" in environment
    assert "sqlite 3.53.4 (pysqlite3)" in environment
    assert "think time, s 1, 3" in environment


def test_doubts_name_the_sources_of_error_with_this_runs_figures() -> None:
    doubts = section(page_of("failing"), "doubts")
    for claim in (
        "one monotonic clock of one host",
        "The generator used 0.61 cores of them in the baseline",
        "the p99 of log-in (62 requests)",
        "reads back every 50 ms",
        "loopback device",
        "Killing a process leaves the kernel’s page cache alive",
        "219 writes ended without a clear answer",
    ):
        assert claim in doubts


def test_every_mark_is_told_in_words() -> None:
    timeline = section(page_of("failing"), "timeline")
    assert all(mark.text in timeline for mark in sample_run.failing().marks)


def test_recovery_counts_from_the_fault_that_led_to_it() -> None:
    """Of two faults, the first may have damaged a backup that nobody was using yet."""
    run = sample_run.failing()
    earlier = record.Mark(t=39.0, name="fault.bite", text="The newest backup is damaged.")
    page = report.render(msgspec.structs.replace(run, marks=(earlier, *run.marks)))
    assert "fault at 40.3 s" in text_of(page)
    assert "detect +0.00 s" in section(page, "recovery")
    assert len(re.findall(r'<line class="fault"[^>]*y2="100%"', page)) == 2


def test_hostile_text_stays_text() -> None:
    page = page_of("hostile")
    assert page.count("<script") == 1
    assert "alert(&#39;x&#39;)" in page
    index = report.render_index([sample_run.hostile()], {})
    assert index.count("<script") == 1


def test_suite_shows_the_worst_verdict_and_each_runs_figures() -> None:
    runs = [sample_run.crash(), sample_run.passing(), sample_run.failing(), sample_run.unknown()]
    page = report.render_index(runs, {run.id: f"../{run.id}/report.html" for run in runs})
    text = text_of(page)
    assert "Fail 1 failed, 1 could not be judged, 2 passed of 4 drills." in text
    assert "Longest recovery 6.08 s measured in 3 of 4" in text
    assert "Lost writes in all 3,048 of 42,561 acknowledged; measured in 3 of 4" in text
    assert "2 fail: RPO , DATA-ORPHANS" in text
    assert all(f'href="../{run.id}/report.html"' in page for run in runs)


def test_suite_in_which_one_run_is_unknown_is_not_a_pass() -> None:
    assert text_of(report.render_index([sample_run.crash(), sample_run.unknown()], {})).startswith(
        "Gymkhana reliability suite Unknown"
    )


def test_suite_of_nothing_is_not_a_pass() -> None:
    text = text_of(report.render_index([], {}))
    assert "Unknown No drill was run, so there is nothing to judge." in text
    assert "Longest recovery not measured" in text


def test_suite_names_a_run_that_has_no_report_without_a_link() -> None:
    page = report.render_index([sample_run.crash()], {})
    assert "<a " not in page
    assert "crash" in page


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (0, "0 s"),
        (0.0004, "under 1 ms"),
        (0.052, "52 ms"),
        (6.081, "6.08 s"),
        (42.34, "42.3 s"),
        (119.99, "120.0 s"),
        (179.7, "3 min 0 s"),
        (222, "3 min 42 s"),
    ],
)
def test_seconds_for_people(value: float, says: str) -> None:
    assert figures.seconds(value).replace("\u00a0", " ") == says


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (0, "0 ms"),
        (7, "7 ms"),
        (0.614, "0.61 ms"),
        (18.0, "18.0 ms"),
        (1234.5, "1,234 ms"),
        (float("inf"), "unbounded"),
    ],
)
def test_number_for_people(value: float, says: str) -> None:
    assert figures.number(value, "ms").replace("\u00a0", " ") == says


@pytest.mark.parametrize(("value", "says"), [(0, "0 %"), (0.174, "17.4 %"), (1.0, "100 %"), (0.00001, "< 0.01 %")])
def test_share_that_is_not_zero_is_not_rounded_to_it(value: float, says: str) -> None:
    assert figures.percent(value).replace("\u00a0", " ") == says


@pytest.mark.parametrize(("value", "says"), [(0, "0 B"), (999, "999 B"), (42_600_000, "42.6 MB"), (7.1e12, "7,100 GB")])
def test_size_for_people(value: float, says: str) -> None:
    assert figures.size(value).replace("\u00a0", " ") == says


@pytest.mark.parametrize("told", [figures.seconds, figures.number, figures.percent, figures.size])
def test_null_is_not_measured(told: object) -> None:
    assert callable(told)
    assert told(None) == figures.NOT_MEASURED


def luminance(colour: str) -> float:
    def linear(part: int) -> float:
        share = part / 255
        return share / 12.92 if share <= 0.03928 else float(((share + 0.055) / 1.055) ** 2.4)

    red, green, blue = (linear(int(colour[n : n + 2], 16)) for n in (1, 3, 5))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    lighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_colours_meet_wcag_aa(scheme: int) -> None:
    """Text at 4.5 to 1 on every ground it stands on; lines and shapes at 3 to 1."""
    css = (report.TEMPLATES / "style.css").read_text(encoding="utf-8")
    colours = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", re.findall(r":root \{(.*?)\}", css, re.S)[scheme]))
    washes = ["pass-wash", "fail-wash", "unknown-wash"]
    texts = [(ink, ground) for ink in ("ink", "soft", "faint") for ground in ("page", "surface", "sunken", *washes)]
    texts += [(tone, ground) for tone in ("pass", "fail", "unknown") for ground in ("surface", "page", f"{tone}-wash")]
    texts += [("link", "surface"), ("link", "page"), *(("link", wash) for wash in washes)]
    texts += [("on-phase", phase) for phase in report.PHASES] + [
        ("on-sign", tone) for tone in ("pass", "fail", "unknown")
    ]
    shapes = [
        (name, "surface") for name in ("requests", "errors", "p50", "p95", "memory", "database", "queue", "focus")
    ]
    poor = {pair: contrast(colours[pair[0]], colours[pair[1]]) for pair in texts}
    assert {pair: ratio for pair, ratio in poor.items() if ratio < 4.5} == {}
    assert {pair for pair in shapes if contrast(colours[pair[0]], colours[pair[1]]) < 3} == set()


def test_write_leaves_the_page_and_nothing_else(tmp_path: Path) -> None:
    report.write(sample_run.passing(), tmp_path / "report.html")
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


def test_write_that_cannot_finish_says_so(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        report.write(sample_run.passing(), tmp_path / "missing" / "report.html")


# gymkhana report


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Two stored runs; the crash was judged last."""
    for age, run in enumerate((sample_run.crash(), sample_run.failing())):
        directory = tmp_path / "runs" / run.id
        directory.mkdir(parents=True)
        record.write(run, directory / "run.json")
        os.utime(directory / "run.json", (1_700_000_000 - age, 1_700_000_000 - age))
    return tmp_path / "runs"


def invoke(runs: Path, *arguments: str) -> Result:
    return CliRunner().invoke(gymkhana, ["report", "--runs", str(runs), *arguments])


def refused(result: Result) -> str:
    assert isinstance(result.exception, NoReport)
    assert result.exception.exit_code == 2
    return str(result.exception)


def test_report_draws_the_newest_run_and_prints_where(runs: Path) -> None:
    result = invoke(runs)
    page = runs / sample_run.crash().id / "report.html"
    assert result.exit_code == 0
    assert result.stdout == f"{page}\n"
    assert "SIGKILL" in page.read_text(encoding="utf-8")


def test_report_finds_a_run_by_id_and_by_directory(runs: Path) -> None:
    run = sample_run.failing().id
    assert invoke(runs, run).stdout == invoke(runs, str(runs / run)).stdout == f"{runs / run / 'report.html'}\n"


def test_report_speaks_json(runs: Path) -> None:
    told = json.loads(invoke(runs, sample_run.failing().id, "--json").stdout)
    path = str(runs / sample_run.failing().id / "report.html")
    assert told == {"id": sample_run.failing().id, "verdict": "fail", "report": path}


def test_report_opens_the_page_only_when_asked(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    invoke(runs)
    assert opened == []
    invoke(runs, "--open")
    assert opened == [(runs / sample_run.crash().id / "report.html").as_uri()]


def test_report_ignores_the_link_to_the_latest_run(runs: Path) -> None:
    (runs / "latest").symlink_to(sample_run.failing().id)
    assert sample_run.crash().id in invoke(runs).stdout


def test_report_without_runs_says_how_to_make_one(tmp_path: Path) -> None:
    assert refused(invoke(tmp_path / "none")) == (
        f"There are no runs under {tmp_path / 'none'} yet; `gymkhana drill run crash` makes one."
    )


def test_report_of_an_unknown_run_names_the_nearest(runs: Path) -> None:
    assert refused(invoke(runs, "20261123-101001-crush")).endswith("did you mean 20261123-101001-crash?")


def test_report_of_a_run_that_resembles_nothing_guesses_nothing(runs: Path) -> None:
    assert refused(invoke(runs, "zzz")) == f"There is no run zzz under {runs}."


def test_report_of_a_run_that_was_never_judged_says_what_judges_it(runs: Path) -> None:
    (runs / "cut").mkdir()
    assert "`gymkhana drill judge cut`" in refused(invoke(runs, "cut"))


def test_report_of_a_suite_points_at_its_page(runs: Path) -> None:
    (runs / "suite").mkdir()
    (runs / "suite" / "report.html").write_text("suite")
    assert "is a suite" in refused(invoke(runs, "suite"))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"{", "is not JSON"),
        (b"", "is not JSON"),
        (b"\xff\xfe\x00", "is not JSON"),
        (b"[]", "is not the record of a run"),
        (b'{"format": 1}', "is not the record of a run"),
        (b'{"format": 99, "shape": "of the future"}', "is of format 99, and this version reads up to 1"),
    ],
)
def test_report_refuses_a_bad_record_and_keeps_the_old_page(runs: Path, content: bytes, says: str) -> None:
    directory = runs / sample_run.crash().id
    (directory / "run.json").write_bytes(content)
    (directory / "report.html").write_text("the old page")
    told = refused(invoke(runs, directory.name))
    assert says in told
    assert "\n" not in told
    assert (directory / "report.html").read_text() == "the old page"


def test_report_that_cannot_be_written_says_where(runs: Path) -> None:
    page = runs / sample_run.crash().id / "report.html"
    page.mkdir()
    assert f"{page} cannot be written" in refused(invoke(runs))
