"""The HTML report as text: what is in it, what is escaped, what it may load, how large it gets."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser

import pytest

from harness.report.html import report_html, write_report
from harness.report.html.head import head_of
from harness.report.html.report_cells import cells_of
from harness.report.html.safe_text import script_json, visible
from harness.result import DocumentError
from tests.unit.reporting import Drawing, document, fork_join, found_out, matrix, nested, result, simulated

HOSTILE = "</script><script>window.pwned=1</script><!--<img src=x onerror=alert(1)>&amp;\"'"


class Elements(HTMLParser):
    """Collects elements with their attributes, and the text of each."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.elements, self.texts, self.open = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self.open.append(tag)

    def handle_data(self, data):
        self.texts.append((self.open[-1] if self.open else "", data))

    def attributes(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


def data_of(html):
    return json.loads(re.search(r'id="makespan-data">(.*?)</script>', html, re.DOTALL).group(1))


def plain(html):
    return " ".join(" ".join(text for tag, text in Elements(html).texts if tag not in ("script", "style")).split())


def test_the_report_loads_nothing():
    page = Elements(report_html([matrix()]))
    assert not page.attributes("link")
    assert not page.attributes("iframe")
    assert not page.attributes("img")
    addresses = [
        one.get(name) for _, one in page.elements for name in ("src", "href", "action", "data") if one.get(name)
    ]
    assert addresses
    assert all(address.startswith("#") for address in addresses)


def test_the_policy_allows_its_own_script_and_style_alone():
    html = report_html([matrix()])
    policy = Elements(html).attributes("meta")[1]["content"]
    assert policy.startswith("default-src 'none'; ")
    script, style = (
        re.findall(pattern, html, re.DOTALL)[-1] for pattern in (r"<script>(.*?)</script>", r"<style>(.*?)</style>")
    )
    for text in (script, style):
        assert f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'" in policy
    assert "unsafe" not in policy
    assert not [
        one for _, one in Elements(html).elements if "style" in one or any(name.startswith("on") for name in one)
    ]


def test_text_from_a_run_never_becomes_markup():
    drawing = Drawing().step(HOSTILE).run(HOSTILE, 0, 0, 1, worker=HOSTILE)
    hostile = document(
        result(drawing.timeline(), {HOSTILE: HOSTILE}, {HOSTILE: HOSTILE}, parameters={HOSTILE: HOSTILE}),
        scenario=HOSTILE, run_id=HOSTILE, environment={HOSTILE: HOSTILE, "machine": HOSTILE},
    )  # fmt: skip
    html = report_html([hostile, hostile])
    assert html.count("<script") == 2
    assert html.count("</script") == 2
    assert "<!--" not in html
    assert "<img" not in html
    data = data_of(html)
    assert HOSTILE in data["texts"]
    assert data["cells"][0]["steps"]["output"] == [[0, HOSTILE]]


def test_control_characters_and_half_surrogates_are_shown_as_signs(tmp_path):
    step_id = "a\x1b[31m\x00\u202eb\ud800\u2028"
    hostile = document(result(Drawing().step(step_id).run(step_id, 0, 0, 1).timeline()))
    write_report([hostile], tmp_path / "report.html")
    html = (tmp_path / "report.html").read_text("utf-8")
    assert "a␛[31m␀⟨U+202E⟩b\ufffd␤" in html
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f\u202e\u2028]", html)


def test_visible_text_is_cut_with_an_ellipsis():
    assert visible("abcdef", 4) == "abc…"
    assert visible("abcd", 4) == "abcd"


def test_json_in_a_script_has_no_sign_that_could_end_it():
    assert script_json({"<&>": "</script>"}) == '{"\\u003c\\u0026\\u003e":"\\u003c/script\\u003e"}'


def test_a_report_of_five_thousand_steps_is_below_a_megabyte():
    assert len(report_html([simulated(5000)]).encode()) < 1_000_000


def test_waits_that_change_their_reason_all_the_time_do_not_swell_the_report():
    drawing = Drawing()
    for number in range(1000):
        waits = [("worker" if part % 2 else "resource.llm", part / 100, (part + 1) / 100) for part in range(100)]
        drawing.step(f"s{number}").run(f"s{number}", 0, 1 + number, 2 + number, waits=waits)
    data = data_of(report_html([document(result(drawing.timeline()))]))
    attempts = data["cells"][0]["attempts"]
    assert max(len(one) for one in attempts["waits"]) <= 1 + 3 * 20
    seconds = {one[0]: sorted(one[2::2]) for one in attempts["waited"]}
    assert seconds[0] == [500_000_000, 500_000_000]


def test_the_head_says_what_ran_where_and_what_to_do():
    text = plain(report_html([matrix()]))
    assert "threads@4 took 4 s, 2.00× the speed of serial (1.90 to 2.10): faster than serial." in text
    assert "What held it back: 100% of the makespan is running, and the critical path of 8 s is the limit" in text
    assert "bench-1 · Linux · 4 usable cores · Python 3.11" in text


def test_each_cell_has_its_own_name():
    one = result(fork_join())
    texts = [
        cell["label"] for cell in data_of(report_html([document(one, one), document(one, run_id="fedcba98")]))["cells"]
    ]
    assert texts == ["threads@2 · run 01234567", "threads@2 · run 01234567 #2", "threads@2 · run fedcba98"]


def test_lost_time_in_the_table_sums_to_the_makespan():
    html = report_html([document(result(fork_join()))])
    row = re.search(r'<table id="lost-table"[^>]*>.*?<tbody>(.*?)</tbody>', html, re.DOTALL).group(1)
    assert "8 s" in row
    assert "8 s (100 %)" in row


def test_speedup_over_workers_is_drawn_where_there_are_several_worker_counts():
    html = report_html([matrix()])
    assert html.count('<polyline class="series') == 4
    assert "Speedup over workers" not in report_html([document(result(fork_join()))])


def test_repetitions_are_drawn_and_step_times_are_used_where_a_document_has_them():
    one = matrix()
    for sample, length in zip(one["results"][2]["samples"], (1.0, 2.0, 3.0), strict=True):
        sample["step_seconds"] = {"only_here": length}
    text = plain(report_html([one]))
    assert "Makespan of each repetition" in text
    assert "only_here 2 s (1 s to 3 s)" in text


def test_a_step_that_called_others_has_their_rows_below_it():
    cell = data_of(report_html([document(result(nested()))]))["cells"][0]
    assert cell["rows"] == [0, 1, 2]
    assert cell["depths"] == [[1, 1], [2, 1]]
    assert cell["attempts"]["blocked"] == [[0, 1_000_000_000, 4_000_000_000]]


def test_a_large_plan_is_summed_up_by_level():
    html = report_html([simulated(500)])
    assert "Too large to draw" in html
    assert '<svg class="plan"' not in html
    assert "10 levels" in plain(html)


def test_a_very_deep_plan_takes_no_more_than_sixty_rows():
    drawing = Drawing()
    for number in range(1000):
        drawing.step(f"s{number}", [f"s{number - 1}"] if number else [])
        drawing.run(f"s{number}", number, number, number + 1)
    html = report_html([document(result(drawing.timeline()))])
    assert re.search(r'class="levels cards".*?</table>', html, re.DOTALL).group(0).count('<th scope="row">') <= 60


def test_a_simulated_run_is_labelled_as_that():
    facts = {"machine": "x", "simulated": True, "stand_in": True}
    text = plain(report_html([document(result(fork_join()), environment=facts)]))
    assert "Simulated: no tool ran" in text
    assert "Stand-in: no model was asked" in text


def test_an_empty_run_has_a_report():
    text = plain(report_html([document(result(Drawing().timeline()))]))
    assert "threads@2 took 0 s." in text


def test_a_run_of_zero_length_has_a_report():
    drawing = Drawing().step("a").run("a", 0, 0, 0)
    assert "took 0 s" in plain(report_html([document(result(drawing.timeline()))]))


def test_an_attempt_that_never_ended_has_a_bar():
    drawing = Drawing().step("a").run("a", 0, 0, 2).step("b", status="running").run("b", 0, 1, 2)
    drawing.attempts[1].ended = drawing.attempts[1].known = drawing.attempts[1].outcome = None
    attempts = data_of(report_html([document(result(drawing.timeline()))]))["cells"][0]["attempts"]
    assert attempts["ended"] == [2_000_000_000, None]


@pytest.mark.parametrize(
    ("documents", "words"),
    [
        ([], "at least one document"),
        ([{"schema": "other/1", "results": []}], "'other/1'"),
        ([{"schema": "makespan.run/1", "run_id": "x", "scenario": "x", "results": []}], "no results"),
        ([{"schema": "makespan.run/1", "results": [{"steps": []}]}], "is missing"),
    ],
)
def test_what_is_no_document_is_refused_with_its_reason(documents, words):
    with pytest.raises(DocumentError, match=re.escape(words)):
        report_html(documents)


def test_a_document_without_its_head_is_refused_with_its_reason():
    broken = document(result(fork_join()))
    del broken["environment"]
    with pytest.raises(DocumentError, match="environment"):
        report_html([broken])


def test_a_cycle_is_refused_with_its_reason():
    broken = document(result(fork_join()))
    broken["results"][0]["steps"][0]["depends_on"] = ["d"]
    with pytest.raises(DocumentError, match="cycle"):
        report_html([broken])


def test_a_report_that_cannot_be_made_leaves_the_old_file_alone(tmp_path):
    target = tmp_path / "report.html"
    target.write_text("old")
    with pytest.raises(DocumentError):
        write_report([], target)
    assert target.read_text() == "old"
    write_report([document(result(fork_join()))], target)
    assert target.read_text("utf-8").startswith("<!doctype html>")
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


def test_a_warning_about_several_cells_stands_once_with_their_names():
    whole = matrix()
    for number, one in enumerate(whole["results"]):
        one["cautions"] = ["the disk was full", *(["two cores alone"] if number in (1, 3) else [])]
    notes = head_of([whole], cells_of([whole])).notes
    assert notes == ["every cell: the disk was full", "threads@2, asyncio@2: two cores alone"]


def test_the_serial_cell_is_the_baseline_and_has_no_verdict():
    whole = matrix()
    verdicts = [
        value.text
        for row in head_of([whole], cells_of([whole])).rows
        for value in row.values
        if value.column == "verdict"
    ]
    assert verdicts == ["baseline", *["faster"] * 4]


def test_the_words_of_a_benchmark_on_what_held_it_back_are_kept():
    whole = matrix()
    whole["results"][0]["remedy"] = "1 s because steps ran longer: use processes."
    first, second, *_ = cells_of([whole])
    assert first.remedy == "1 s because steps ran longer: use processes."
    assert second.remedy != first.remedy


def test_a_capacity_that_was_found_out_stands_in_words_in_a_table_and_in_the_data():
    html = report_html([document(result(found_out()))])
    text = plain(html)
    assert "Capacity of llm, found out while it ran: 4 at first, 3 to 6, 3 at the end." in text
    assert "from units at once for 0 s 4 2 s 2 s 6 3 s 5 s 3 3 s" in text
    (cell,) = data_of(html)["cells"]
    ((name, differences, capacities),) = cell["capacities"]
    assert data_of(html)["texts"][name] == "llm"
    assert differences == [0, 2_000_000_000, 3_000_000_000]
    assert capacities == [4, 6, 3]
    (canvas,) = [one for one in Elements(html).attributes("canvas") if one["class"] == "capacities"]
    assert canvas["role"] == "img"
    assert "llm 4 at first, 3 to 6, 3 at the end" in canvas["aria-label"]


def test_a_run_whose_capacities_were_known_draws_none():
    html = report_html([document(result(fork_join()))])
    assert "capacities" not in data_of(html)["cells"][0]
    assert not [one for one in Elements(html).attributes("canvas") if one["class"] == "capacities"]


def test_only_the_cells_with_a_capacity_that_was_found_out_draw_one():
    html = report_html([document(result(fork_join()), result(found_out()))])
    assert len([one for one in Elements(html).attributes("canvas") if one["class"] == "capacities"]) == 1


def test_a_table_of_capacities_is_short_and_says_what_it_leaves_out():
    timeline = found_out()
    timeline.capacity_changes = {HOSTILE: [(time * 1_000, 1 + time % 7) for time in range(1_000)]}
    html = report_html([document(result(timeline))])
    assert "the first 400 changes; 600 more are in the result document" in plain(html)
    assert len(data_of(html)["cells"][0]["capacities"][0][1]) == 1_000
    assert "<img" not in html
