"""The drawings: where values land, what is left out, and that the markup is whole."""

from __future__ import annotations

import math
import re
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ci.charts import (
    Axis,
    Band,
    Line,
    Scale,
    bands,
    lanes,
    loss_line,
    phase_bar,
    plot,
    ribbon,
    scale_for,
    stretches,
    time_axis,
)

AXIS = Axis(0.0, 10.0)
HOSTILE = "\"><script>alert('x')</script>"


def paths(svg: str, style: str) -> list[str]:
    return re.findall(rf'<path class="{style}" d="([^"]*)"', svg)


def test_axis_spans_the_width() -> None:
    assert [AXIS.at(t) for t in (0.0, 2.5, 10.0)] == [0.0, 25.0, 100.0]


def test_axis_holds_instants_outside_the_run_at_its_edges() -> None:
    assert [AXIS.at(t) for t in (-3.0, 11.0)] == [0.0, 100.0]


def test_axis_of_no_length_does_not_divide_by_it() -> None:
    assert Axis(4.0, 4.0).at(4.0) == 0.0


@pytest.mark.parametrize("seconds", [1, 9, 70, 71, 300, 3599, 40_000])
def test_axis_ticks_are_few_and_inside(seconds: int) -> None:
    ticks = Axis(0.0, float(seconds)).ticks()
    assert 2 <= len(ticks) <= 12
    assert ticks[0] == 0.0
    assert ticks[-1] <= seconds


def test_scale_is_linear_from_zero_for_values_of_one_size() -> None:
    assert scale_for([480, 500, 512]) == Scale(0.0, 600.0)


def test_scale_is_logarithmic_when_a_peak_would_flatten_the_rest() -> None:
    scale = scale_for([12.0, 14.0, 13.0, 913.0])
    assert scale == Scale(10.0, 1000.0, log=True)
    assert scale.ticks() == [10.0, 100.0, 1000.0]


def test_scale_stays_linear_when_a_zero_was_measured() -> None:
    """A logarithm has no place for 0, and 0 must be seen."""
    assert not scale_for([0.0, 1.0, 1.0, 900.0]).log


def test_scale_of_nothing_is_drawable() -> None:
    assert scale_for([], [None, None]).ticks()


def test_scale_ignores_what_is_not_finite() -> None:
    assert scale_for([1.0, math.inf, None]).high < 10


@settings(max_examples=60, deadline=None)
@given(st.lists(st.one_of(st.none(), st.floats(0.0, 1e7)), max_size=30))
def test_every_value_lies_within_its_scale_and_under_its_top(values: list[float | None]) -> None:
    scale = scale_for(values)
    seen = [v for v in values if v is not None]
    assert all(0.0 <= scale.at(v) <= 1.0 for v in seen)
    assert max(seen, default=0.0) <= scale.high * (1 + 1e-6)
    assert 1 <= len(scale.ticks()) <= 12


def test_stretches_are_cut_where_a_value_is_missing() -> None:
    points = [(0.0, 1.0), (1.0, None), (2.0, 3.0), (3.0, math.inf), (4.0, 5.0)]
    assert list(stretches(points)) == [[(0.0, 1.0)], [(2.0, 3.0)], [(4.0, 5.0)]]


def test_missing_value_leaves_a_gap_and_is_not_drawn_at_zero() -> None:
    svg = plot(AXIS, [0, 1, 2, 3, 4], [Line("p95", [8, 8, None, 8, 8])], 100, "latency")
    (path,) = paths(svg, "line p95")
    assert path.count("M") == 2
    assert ",100" not in path


def test_measured_zero_is_drawn_at_the_bottom() -> None:
    svg = plot(AXIS, [0, 1, 2], [Line("requests", [8, 0, 8])], 100, "requests")
    assert ",100" in paths(svg, "line requests")[0]


def test_lone_value_between_gaps_is_still_drawn() -> None:
    svg = plot(AXIS, [0, 1, 2], [Line("p95", [None, 8, None])], 100, "latency")
    assert paths(svg, "line p95")[0].endswith("h0")


def test_columns_stand_only_where_something_was_counted() -> None:
    svg = plot(AXIS, [0, 1, 2, 3], [Line("errors", [0, 5, None, 2], "bars")], 100, "errors")
    assert paths(svg, "bars errors")[0].count("M") == 2


def test_columns_lie_behind_the_lines() -> None:
    svg = plot(AXIS, [0, 1], [Line("requests", [5, 5]), Line("errors", [1, 1], "bars")], 100, "both")
    assert svg.index("bars errors") < svg.index("line requests")


def test_plot_of_an_empty_series_is_whole() -> None:
    ElementTree.fromstring(plot(AXIS, [], [Line("requests", [])], 100, "nothing"))


def test_discs_that_would_overlap_take_another_row() -> None:
    assert lanes([1.0, 1.5, 30.0, 30.1, 30.2]) == [0, 1, 0, 1, 2]


def test_disc_without_a_free_row_is_left_to_the_list() -> None:
    assert lanes([5.0] * 6) == [0, 1, 2, 3, None, None]


def test_name_of_the_baseline_keeps_clear_of_the_recoverys() -> None:
    """Both stand in one row, and each begins where its band begins."""
    windows = [Band("baseline", 3.0, 4.0, "baseline 1 s"), Band("recovery", 4.2, 4.4, "recovery 0.20 s")]
    svg = ribbon(AXIS, windows, [], (4.2, "fault at 4.2 s"), [])
    assert 'x="30%" dx="5" y="29" text-anchor="start">baseline 1 s' in svg
    assert 'x="42%" dx="5" y="29" text-anchor="start">recovery 0.20 s' in svg


def test_phase_bar_leaves_unexplained_time_uncoloured() -> None:
    phases = [Band("p-detect", 40.0, 41.0, "detect"), Band("p-serve", 43.0, 46.0, "serve")]
    svg = ElementTree.fromstring(phase_bar(phases, 6.0, 40, "recovery"))
    drawn = {rect.get("class"): (rect.get("x"), rect.get("width")) for rect in svg.iter("rect")}
    assert drawn["unexplained"] == ("0%", "100%")
    assert drawn["phase p-detect"] == ("0%", "16.67%")
    assert drawn["phase p-serve"] == ("50%", "50%")


def test_phase_too_short_for_its_name_is_drawn_without_it() -> None:
    phases = [Band("p-decide", 0.0, 0.01, "decide"), Band("p-restore", 0.01, 5.0, "restore")]
    svg = phase_bar(phases, 5.0, 40, "recovery")
    assert ">restore<" in svg
    assert ">decide<" not in svg
    assert 'class="phase p-decide"' in svg


def test_shortest_band_keeps_a_visible_width() -> None:
    svg = ElementTree.fromstring(bands(Axis(0.0, 300.0), [Band("p-decide", 40.0, 40.0001)], [40.0]))
    assert float(str(next(svg.iter("rect")).get("width")).rstrip("%")) >= 0.1


def test_every_fault_has_its_line() -> None:
    assert bands(AXIS, [], [3.0, 7.0]).count('class="fault"') == 2


def test_label_near_the_right_edge_turns_to_the_left() -> None:
    svg = ribbon(AXIS, [], [], (9.5, "fault at 9.5 s"), [])
    assert 'text-anchor="end">fault at 9.5 s' in svg


def test_marks_are_numbered_in_order() -> None:
    svg = ribbon(AXIS, [], [], None, [1.0, 4.0, 9.0])
    assert re.findall(r">(\d)</text>", svg) == ["1", "2", "3"]


@pytest.mark.parametrize(
    "svg",
    [
        plot(AXIS, [0, 1], [Line("requests", [1, 2], "area"), Line("errors", [1, 0], "bars")], 100, HOSTILE),
        bands(AXIS, [Band("baseline", 1, 2, HOSTILE)], [3.0]),
        ribbon(AXIS, [Band("baseline", 1, 2, HOSTILE)], [Band("p-detect", 2, 3, HOSTILE)], (2.0, HOSTILE), [1, 2]),
        time_axis(AXIS),
        phase_bar([Band("p-detect", 0, 5, HOSTILE)], 5.0, 40, HOSTILE),
        loss_line(AXIS, [(1.0, HOSTILE)], Band("lost", 1, 2, HOSTILE), (2.0, HOSTILE), HOSTILE),
    ],
    ids=["plot", "bands", "ribbon", "time_axis", "phase_bar", "loss_line"],
)
def test_markup_is_whole_and_text_stays_text(svg: str) -> None:
    root = ElementTree.fromstring(svg)
    assert not [node for node in root.iter() if node.tag == "script"]


def test_drawing_says_what_it_shows_or_is_hidden_from_screen_readers() -> None:
    labelled = ElementTree.fromstring(plot(AXIS, [0], [Line("p95", [1.0])], 100, "p95: highest 1 ms"))
    hidden = ElementTree.fromstring(time_axis(AXIS))
    assert labelled.get("role") == "img"
    assert labelled.get("aria-label") == "p95: highest 1 ms"
    assert hidden.get("aria-hidden") == "true"
