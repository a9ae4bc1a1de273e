"""What somebody else wrote is shown by every door as what it is, and obeyed by none.

Locks out: a segment's name that is read as markup and fails a run, an id that drives a terminal, a link or a picture in
Dagster's Markdown, a script in the report, a call to everybody in a chat, a formula in a file.
"""

import csv
import io
import re
from datetime import date
from decimal import Decimal
from html.parser import HTMLParser

import pytest

from segmentation_assets.alerts.messages import LONGEST_TEXT, alert
from segmentation_assets.cli import terminal
from segmentation_assets.exports.files import csv_bytes
from segmentation_assets.months import MonthRange
from segmentation_assets.outcomes.pooled import EntryMonth, Group, compared
from segmentation_assets.publication import audits, findings
from segmentation_assets.publication.explanations import Explanation
from segmentation_assets.publication.explanations import render as explained
from segmentation_assets.report import page, share_chart
from segmentation_assets.report.data import AuditResult, Definition, Effect, Flow, Metrics, Report, Share
from segmentation_assets.rules import load as rules
from segmentation_assets.sources.formulas import begins_as_formula
from segmentation_assets.text import markdown, message, printable
from segmentation_assets.what_if import tables
from segmentation_assets.what_if.calibration import Bound, Calibrated, Calibration
from segmentation_assets.what_if.compute import Month, Segment

MONTH = date(2025, 11, 1)
HOSTILE = {
    "rich markup": "O'Brien [/red] [bold]:smile:",
    "colour": "\x1b[31mred\x1b[0m",
    "title of the window": "\x1b]0;owned\x07",
    "eight-bit escape": "\x9b2J",
    "back over the line": "safe\r\x08\x08unsafe",
    "NUL": "a\x00b",
    "reading direction": "gpj.\u202eexe \u2067x\u2069",
    "half of a pair": "\ud800",
    "line": "first\nsecond | third",
    "script": "<script>alert(1)</script>",
    "attribute": '" onmouseover="alert(1)" x=\'',
    "picture": '<img src=x onerror=alert(1)><svg onload="x">',
    "entity": "&lt;b&gt; &#60;",
    "link": "[click](javascript:alert(1)) <https://evil.example> https://evil.example www.evil.example",
    "Markdown picture": "![x](https://evil.example/pixel.png)",
    "column and code": "a | b `c` *d* _e_ ~~f~~ \\",
    "heading": "# Heading",
    "everybody": "@everyone @here <!channel> <@U123> <@&99>",
    "template": "{{ 7 * 7 }} {% raw %} ${7*7} %s %(x)s {0}",
    "formula": '=HYPERLINK("https://evil.example")',
    "hidden formula": "\u200b\ufeff@SUM(1)",
    "program": "-2+3+cmd|' /C calc'!A0",
    "long": "x" * 5_000,
    "SQL": "'; drop table gold.customer_segments; --",
}
# What a terminal, a browser or a chat would act on and no text shows.
CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """Both consoles as they are where there is no terminal."""
    file = io.StringIO()
    monkeypatch.setattr(terminal, "console", terminal._console(file))
    monkeypatch.setattr(terminal, "errors", terminal._console(file))
    return file


@pytest.fixture(params=HOSTILE.values(), ids=HOSTILE.keys())
def hostile(request: pytest.FixtureRequest) -> str:
    return request.param


def month_with(name: str) -> Month:
    return Month(
        MONTH, (Segment(name, 1, 1, 50.0, 50.0, 5, (40, 60), ()),), {(name, "Other"): 1}, (), (), (), other_rules=False
    )


def calibration_of(name: str) -> Calibration:
    criterion = rules.Criterion.model_validate({"metric": "lifetime_value", "at_least": 5})
    segment = rules.Segment.model_construct(name=name, criteria=(criterion,), expected_share_pct=(40, 60))
    one = Calibrated(segment, {MONTH: 1}, (Bound(criterion, Decimal(7), {MONTH: 5}),))
    return Calibration(MonthRange.single(MONTH), {MONTH: 10}, (one,))


def finding_about(name: str) -> findings.Finding:
    row = {"audit": next(iter(audits.BY_NAME)), "snapshot_month": MONTH, "customer_segment": name, "measured": 1.0,
           "lower_bound": None, "upper_bound": 0.0, "failed_rows": 1, "accepted_by": name, "reason": name}  # fmt: skip
    return findings.Finding.of_row(row)


def test_the_terminal_shows_it_and_obeys_nothing(written: io.StringIO, hostile: str) -> None:
    row = {"segment_priority": 1, "segment": hostile, "metric": "tenure_months", "operator": "at_most", "bound": 6,
           "value": 7, "margin": -1, "passed": False, "is_winner": False, "is_outranked": False}  # fmt: skip
    summary = {"customer_segment": hostile, "share_pct": 50.0, "customers": 1, "avg_lifetime_value": 1,
               "total_lifetime_value": 1}  # fmt: skip
    terminal.say(hostile)
    terminal.complain(hostile, "red")
    terminal.error(hostile)
    terminal.say(finding_about(hostile).acceptance)
    terminal.say(terminal.segments_table(MONTH, [summary], {hostile: (1, 2)}))
    terminal.say(explained(Explanation(hostile, MONTH, hostile, [row], {}, None)))
    terminal.say(tables.render([month_with(hostile)]))
    terminal.say(tables.render_calibration(calibration_of(hostile)))
    shown = written.getvalue()
    assert not CONTROLS.search(shown)
    shown.encode()
    for line in printable(hostile).split("\n"):
        assert shown.count(line.strip()) >= 9, line


class Elements(HTMLParser):
    """What a browser makes of a page: its tags with their attributes, and its text."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, tuple[str, ...]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, tuple(name for name, _ in attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


NOBODY = compared([EntryMonth(Group.nobody(), Group.nobody())], 99)


def metrics_of(name: str) -> Metrics:
    return Metrics(name, 2, 1, 10.0, 5.0, 5.0, 3.0, 1.0, None, None, None, None, None)


def report_about(name: str) -> Report:
    return Report(
        month=MONTH, as_of=date(2025, 12, 1), version=1, verdict="accepted", segments=(name, "Other"),
        totals=metrics_of("All customers"), totals_before=None, metrics=(metrics_of(name), metrics_of("Other")),
        shares=(Share(MONTH, name, 50.0), Share(MONTH, "Other", 50.0)), months=(MONTH,), bands={name: (40.0, 60.0)},
        flows=(Flow(name, "Other", 1), Flow("Other", name, 1)), audiences=(), outcomes=(),
        effects=(Effect({**NOBODY, "campaign": name, "holdout_epoch": "2025"}, (name,)),),
        audits=(AuditResult(next(iter(audits.BY_NAME)), name, "accepted", (finding_about(name),)),), notes=(name,),
        definitions=(Definition(name, (name,), name, (40.0, 60.0)), Definition("Other", (), name, None)),
    )  # fmt: skip


def page_about(name: str) -> str:
    report = report_about(name)
    return page.render(report, page.pictures(report)).decode()


def test_the_report_shows_it_and_has_no_element_more(hostile: str) -> None:
    html = page_about(hostile)
    assert not CONTROLS.search(html)
    found, harmless = Elements(html), Elements(page_about("Harmless"))
    assert set(found.tags) == set(harmless.tags)
    for line in printable(hostile).split("\n"):
        assert line.strip() in found.text, line


def test_markdown_in_dagster_shows_it_in_one_cell(hostile: str) -> None:
    month = month_with(hostile)
    table = [line for line in tables.markdown([month], "segments").splitlines() if line.startswith("|")]
    columns = {len(re.findall(r"(?<!\\)(?:\\\\)*\|", line)) for line in table}
    assert len(table) == 3
    assert len(columns) == 1
    told = tables.markdown_calibration(calibration_of(hostile))
    assert len([line for line in told["shares"].splitlines() if line.startswith("|")]) == 5
    assert len(told["bounds"].splitlines()) == 2
    text = markdown(hostile)
    assert "\n" not in text
    assert not CONTROLS.search(text)
    # Whatever opens a tag, a link, a picture, code or an address stands behind a backslash.
    assert not re.search(r"(?<!\\)(?:\\\\)*[<\[`]|https?://|www\.", text)
    assert re.sub(r"\\([\\`*_\[\]<>|~@&:.#+)-])", r"\1", text) == printable(hostile).replace("\n", " ")


def test_a_picture_in_dagster_is_drawn_with_it(hostile: str) -> None:
    row = {"snapshot_month": MONTH, "customer_segment": hostile, "share_pct": 50.0, "band_lower_pct": 40.0,
           "band_upper_pct": 60.0}  # fmt: skip
    drawn = share_chart.shares_against_bands([row], [hostile]).md_str
    assert re.fullmatch(r"!\[shares\]\(data:image/png;base64,[A-Za-z0-9+/=]{1000,}\)", drawn or "")


def test_an_alert_shows_it_and_calls_nobody(hostile: str) -> None:
    made = alert("identity", "error", hostile, [("What", hostile), ("Why", finding_about(hostile).acceptance)])
    for said in (made.title, made.body):
        assert not CONTROLS.search(said)
        assert not re.search(r"@(everyone|here|U123|&99)|<!channel|<@|\]\(", said)
        assert len(said) < 3 * LONGEST_TEXT
        said.encode()


def test_a_file_holds_it_and_no_spreadsheet_runs_it(hostile: str) -> None:
    if hostile == HOSTILE["half of a pair"]:
        with pytest.raises(UnicodeEncodeError):  # no warehouse holds it either
            csv_bytes(["first_name"], [{"first_name": hostile}])
        return
    content = csv_bytes(["customer_id", "first_name"], [{"customer_id": "C1", "first_name": hostile}]).decode()
    header, (key, name) = csv.reader(io.StringIO(content, newline=""), lineterminator="\n")
    assert (header, key) == (["customer_id", "first_name"], "C1")
    assert name.removeprefix("'") == hostile  # as the manifest says how to undo the mark
    assert not begins_as_formula(name) or name.startswith("'")


def test_what_is_harmless_stays_as_it_is() -> None:
    for text in (
        "Stable Mid-Spenders",
        "New & Growing",
        "O'Brien, 4.9 % (allowed: at least 5)",
        "日本 Zażółć 🙂",
    ):
        assert printable(text) == markdown(text) == message(text) == text
