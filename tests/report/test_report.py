from __future__ import annotations

import base64
import dataclasses
import hashlib
import html
import itertools
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest

from whyrank.agents.reliability import Reliability, TrackRecord, reliability
from whyrank.report import ReportContent, write_report
from whyrank.report.calibration_picture import build_record, draw_record
from whyrank.report.causal_map import MAX_EDGES, draw_causal_map
from whyrank.report.numbers import effect_text, interval_text
from whyrank.report.order import by_interest
from whyrank.report.pictures import draw_draws
from whyrank.report.rows import build_view
from whyrank.report.summary import found, not_causes
from whyrank.report.svg import text_width


class Page(HTMLParser):
    """The elements of a page, and its text."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    @property
    def title(self) -> str:
        """The text of the title up to the first `<`."""
        return self.text.lstrip().partition("<")[0]

    def count(self, tag: str) -> int:
        return sum(name == tag for name, _ in self.elements)


def written(content: ReportContent, folder: Path) -> tuple[Path, str]:
    path = write_report(content, folder / "out" / "report.html")
    return path, path.read_text(encoding="utf-8")


def test_the_page_needs_nothing_else(shop: ReportContent, tmp_path: Path) -> None:
    path, source = written(shop, tmp_path)
    page = Page(source)
    assert [p.name for p in path.parent.iterdir()] == ["report.html"]
    ids = {a["id"] for _, a in page.elements if a.get("id")}
    for tag, attributes in page.elements:
        assert tag not in {"link", "img", "iframe", "object", "base", "form"}
        assert "src" not in attributes
        assert "style" not in attributes, "the page's policy would block it"
        assert not any(name.startswith("on") for name in attributes)
        if href := attributes.get("href"):
            assert href[0] == "#"
            assert href[1:] in ids
    assert "url(" not in source
    assert "@import" not in source


def test_the_policy_allows_its_own_style_and_script_only(shop: ReportContent, tmp_path: Path) -> None:
    _, source = written(shop, tmp_path)
    policy = next(a["content"] for t, a in Page(source).elements if t == "meta" and "http-equiv" in a)
    assert policy is not None
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    for tag in ("style", "script"):
        inline = re.findall(f"<{tag}>(.*?)</{tag}>", source, re.DOTALL)
        assert len(inline) == 1
        digest = base64.b64encode(hashlib.sha256(inline[0].encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy


def test_names_texts_and_replies_stay_text(nasty: ReportContent, tmp_path: Path) -> None:
    _, source = written(nasty, tmp_path)
    page = Page(source)
    assert page.count("script") == 1
    assert page.count("style") == 1
    assert page.count("img") == 0
    for text in (
        "购买",
        "免运费",
        "效应稳健",
        "<script>document.title='pwned'</script>",
        "{{ 7*7 }}</style>",
        "请回答</pre>",
    ):
        assert text in page.text


def test_every_verdict_shows_its_evidence(shop: ReportContent, tmp_path: Path) -> None:
    _, source = written(shop, tmp_path)
    page = Page(source)
    text = " ".join(page.text.split())
    assert page.count("tr") > len(shop.judgements)
    for judgement in shop.judgements:
        assert judgement.estimate.contrast.label in text
        assert judgement.reasons[0] in text
    for expected in (
        "+2.13 [+1.28, +2.98] pp",
        "Buyers who need not pay for delivery",
        "Which of these attributes cause a purchase?",
        '{"causes": ["items.price"]}',
        "12 % of the propensities were clipped",
        "event of an unknown item",
        "users.region 'north' has only 9 users",
        "items.colour -> events.click",
        "i9 Blue cup <script>",
        shop.fingerprint,
    ):
        assert expected in text
    assert source.count('class="draws"') == sum(bool(j.estimate.checks) for j in shop.judgements)


def test_an_empty_study_has_a_page(shop: ReportContent, tmp_path: Path) -> None:
    empty = dataclasses.replace(shop, judgements=(), hypotheses=(), recommendation=None, calls={})
    _, source = written(empty, tmp_path)
    assert "Nothing has been judged yet." in source
    assert "0 contrasts were judged" in source


def test_a_thousand_edges_stay_usable(many: Callable[[int], ReportContent], tmp_path: Path) -> None:
    path, source = written(many(1000), tmp_path)
    assert path.stat().st_size < 10_000_000
    assert f"{MAX_EDGES} most telling lines are drawn; {1000 - MAX_EDGES} more are left out" in source
    assert "more calls are in the ledger" in source
    assert "<details open" not in source


def test_the_map_draws_the_most_telling_lines_and_its_labels_keep_apart(many: Callable[[int], ReportContent]) -> None:
    content = many(300)
    judgements = by_interest(content.judgements, {})
    drawn = draw_causal_map(
        judgements,
        anchors=[f"e-{i}" for i in range(300)],
        titles=[j.estimate.contrast.label for j in judgements],
        outcomes=[f"events.outcome_{i}" for i in range(4)],
        spread={},
    )
    assert (drawn.shown, drawn.left_out) == (MAX_EDGES, 300 - MAX_EDGES)
    assert drawn.svg.count('class="edge v-validated"') == sum(j.verdict == "validated" for j in judgements[:MAX_EDGES])
    boxes: dict[str, list[float]] = {}
    for x, y in re.findall(r'<text x="([\d.]+)" y="([\d.]+)"', drawn.svg):
        boxes.setdefault(x, []).append(float(y))
    assert len(boxes) == 2
    for heights in boxes.values():
        heights.sort()
        assert min(b - a for a, b in itertools.pairwise(heights)) >= 14


def test_long_names_are_cut_to_their_column(nasty: ReportContent) -> None:
    judgements = by_interest(nasty.judgements, {})
    drawn = draw_causal_map(judgements, anchors=["a"] * 4, titles=["t"] * 4, outcomes=[], spread={})
    shown = re.findall(r'class="name"[^>]*><title>[^<]*</title>([^<]*)<', drawn.svg)
    assert shown
    assert max(text_width(html.unescape(name)) for name in shown) <= 360


def test_the_summary_claims_what_was_validated_and_no_more(shop: ReportContent) -> None:
    rows = build_view(shop).rows
    texts = [s.text for s in found(rows, ["events.click", "events.purchase", "events.dwell_seconds"], limit=99)]
    assert "items.free_shipping = 1 (against 0) raises events.purchase by 2.13 [1.28, 2.98] pp." in texts
    assert "One unit more of items.price lowers events.purchase by 0.121 [0.054, 0.188] pp." in texts
    assert (
        "The effect of items.discount = 1 (against 0) on events.purchase is higher by 1.87 [1.12, 2.62] pp "
        "with users.new_user = 1 (against 0)."
    ) in texts
    assert len(texts) == sum(j.verdict == "validated" for j in shop.judgements)
    assert "items.price by" in texts[-1], "effects on outcomes come first"
    assert all("users.age" not in text for text in texts)
    refuted = [s.text for s in not_causes(rows)]
    assert len(refuted) == 2
    assert all("without adjustment" in text for text in refuted)


def test_numbers_keep_two_digits_of_their_interval() -> None:
    assert interval_text(123.456, 120.0, 127.0, "mean") == "+123.5 [+120.0, +127.0]"
    assert interval_text(-0.00002, -0.00003, -0.00001, "probability") == "-0.00200 [-0.00300, -0.00100] pp"
    assert interval_text(float("nan"), float("nan"), float("nan"), "mean") == "n/a"
    assert effect_text(0.0, "log-odds") == "0.000 log-odds"


@pytest.mark.parametrize("draws", [[], [1.0] * 3, [float("nan")] * 20, [0.5] * 20])
def test_a_histogram_of_nothing_is_no_picture(draws: list[float]) -> None:
    assert draw_draws(draws, 0.5, "mean") == ""


def test_the_record_of_a_proposer_is_drawn_where_there_is_enough(shop: ReportContent, tmp_path: Path) -> None:
    kept = reliability([0.1] * 20 + [0.9] * 20, [False] * 18 + [True] * 2 + [True] * 19 + [False])
    record = TrackRecord(Reliability(5, 2), kept)
    _, source = written(dataclasses.replace(shop, record=record, merged=("a and b <are> one",)), tmp_path)
    page = Page(source)
    assert "40 proposed edges were judged; 21 of them were validated (52%)." in page.text
    assert "Brier score 0.070, 0.249 for a forecast that always tells the base rate" in page.text
    assert "(5, 2 of them validated; it takes 12, of both kinds)" in page.text
    assert page.text.count("n=20") == 2
    assert "19/20: 90% → 95%" in page.text
    assert "a and b <are> one" in page.text
    picture = draw_record(record, "zh")
    assert "结论太少" in picture
    heights = [float(y) for y in re.findall(r'cy="([\d.]+)"', picture)]
    assert len(heights) == 2
    assert heights[0] > heights[1], "a larger share stands higher"


def test_a_record_of_few_verdicts_is_one_sentence_and_of_none_nothing(shop: ReportContent, tmp_path: Path) -> None:
    for record, sentences in ((None, None), (TrackRecord(Reliability(0, 0), Reliability(0, 0)), None),
                              (TrackRecord(Reliability(0, 0), Reliability(5, 2)), 2)):  # fmt: skip
        view = build_record(record, "en")
        assert (None if view is None else len(view.sentences)) == sentences
        _, source = written(dataclasses.replace(shop, record=record), tmp_path)
        assert ("Too few verdicts" in source) == (sentences is not None)
        assert 'class="kept"' not in source


def _chromium() -> str | None:
    return next((p for p in map(shutil.which, ("chromium", "chromium-browser", "google-chrome")) if p), None)


@pytest.mark.browser
def test_a_browser_shows_the_names_and_runs_none_of_them(nasty: ReportContent, tmp_path: Path) -> None:
    chromium = _chromium()
    if chromium is None:
        if os.environ.get("WHYRANK_REQUIRE_BROWSER") == "1":
            pytest.fail("WHYRANK_REQUIRE_BROWSER=1, and there is no Chromium")
        pytest.skip("there is no Chromium")
    path, _ = written(nasty, tmp_path)
    picture = tmp_path / "report.png"
    flags = [
        "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars",
        "--disable-background-networking", "--disable-component-update", "--disable-sync",
        f"--user-data-dir={tmp_path / 'profile'}", "--window-size=1280,2600",
    ]  # fmt: skip

    def run(*more: str) -> str:
        done = subprocess.run([chromium, *flags, *more], capture_output=True, text=True, timeout=120, check=True)
        return done.stdout

    page = Page(run("--dump-dom", f"{path.as_uri()}#e-2"))
    assert page.title.startswith("商店 ")
    assert "4 of 4 shown" in page.text, "the page's own script has run"
    assert page.count("script") == 1
    assert page.count("img") == 0
    opened = [a["id"] for t, a in page.elements if t == "details" and "open" in a]
    assert opened == ["e-2"], "an address with an anchor opens that evidence"
    assert "效应稳健" in page.text

    run(f"--screenshot={picture}", path.as_uri())
    assert picture.stat().st_size > 20_000
