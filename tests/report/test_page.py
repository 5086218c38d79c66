"""The report page: self-contained, escaped, accessible, and the same bytes for the same data."""

import base64
import re
from html.parser import HTMLParser

import pytest

from medaug.figures.charts import learning_curves
from medaug.report.page import Figure, ReportPage, Section, Table, Verdict, format_columns, numeric_columns, render
from medaug.report.page import to_html as html_of
from medaug.report.sections import data_facts

ATTACK = "<script>alert('x')</script>\"><img src=x onerror=alert(1)>&"


@pytest.fixture(scope="module")
def png() -> bytes:
    return learning_curves({"loss": ([0, 1, 2], [3.0, 2.0, 1.0])}, title="Loss", ylabel="loss")


def minimal(**parts) -> ReportPage:
    return ReportPage("Title", "Subtitle", Verdict("inconclusive", "Headline", "Sentence."), **parts)


def full(text: str, png: bytes) -> ReportPage:
    """A page that shows `text` in every place that takes text."""
    table = Table(text, [text, text], [[text, text], [text, 1.5]], note=text)
    section = Section(text, text, [table], [Figure(text, png, text, text)])
    return ReportPage(
        text, text, Verdict("helps", text, text), [(text, text)], [section], [text], [(text, text)], text, [text], text
    )


class Elements(HTMLParser):
    """Collects (tag, attributes) and checks that elements close in the order they opened."""

    VOID = {"meta", "img", "br", "hr", "link", "input"}

    def __init__(self, html: str):
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def all(self, *tags: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.found if tag in tags]


def test_render_writes_the_page_and_returns_its_path(tmp_path):
    path = render(minimal(), tmp_path / "report.html")
    assert path == tmp_path / "report.html"
    assert path.read_text(encoding="utf-8") == html_of(minimal())
    assert [file.name for file in tmp_path.iterdir()] == ["report.html"]


def test_page_refers_to_nothing_outside_itself(png):
    html = html_of(full("plain", png))
    elements = Elements(html)
    references = [value for _, a in elements.found for key, value in a.items() if key in ("src", "href", "srcset")]
    assert references
    assert all(reference.startswith(("data:image/png;base64,", "#")) for reference in references)
    assert not re.search(r"https?://|@import|url\(", html)
    assert not elements.all("script", "link", "iframe", "object", "form")


def test_every_string_is_escaped_wherever_it_stands(png):
    html = html_of(full(ATTACK, png))
    assert "<script" not in html
    assert "<img src=x" not in html
    elements = Elements(html)
    assert len(elements.all("img")) == 1
    assert not any(key.startswith("on") for _, attributes in elements.found for key in attributes)
    assert elements.all("img")[0]["alt"] == ATTACK


def test_every_image_has_its_alternative_text_and_stated_size(png):
    figures = [Figure(f"figure {i}", png, "caption", f"what figure {i} shows") for i in range(3)]
    images = Elements(html_of(minimal(sections=[Section("Pictures", figures=figures)]))).all("img")
    assert [image["alt"] for image in images] == [f"what figure {i} shows" for i in range(3)]
    assert all(int(image["width"]) > 0 and int(image["height"]) > 0 for image in images)
    assert base64.b64decode(images[0]["src"].split(",")[1]) == png


def test_image_is_shown_at_the_size_its_density_states(png):
    image = Elements(html_of(full("plain", png))).all("img")[0]
    width = int.from_bytes(png[16:20], "big")
    assert int(image["width"]) == round(width / 2)  # 192 pixels per inch: two for each CSS pixel


def test_png_without_density_is_shown_pixel_for_pixel():
    import io

    from PIL import Image

    encoded = io.BytesIO()
    Image.new("L", (30, 20)).save(encoded, "PNG")
    page = minimal(sections=[Section("s", figures=[Figure("", encoded.getvalue(), "", "a grey field")])])
    image = Elements(html_of(page)).all("img")[0]
    assert (image["width"], image["height"]) == ("30", "20")


def test_empty_parts_leave_no_heading():
    html = html_of(minimal())
    Elements(html)
    for heading in ("What was run", "Warnings", "Files left out", "Settings", "Make it again"):
        assert heading not in html
    assert "Headline" in html
    assert "Not for diagnosis" in html


def test_empty_section_table_and_texts_render():
    page = ReportPage("", "", Verdict("info", "", ""), sections=[Section(""), Section("t", "", [Table("", ["a"], [])])])
    Elements(html_of(page))


def test_parts_stand_in_the_promised_order(png):
    page = minimal(
        facts=[("Data", "lgg")], sections=[Section("Benchmark"), Section("Pictures")], warnings=["few patients"],
        left_out=[("a.nii", "blank")], settings_yaml="steps: 5", commands=["medaug run"],
    )  # fmt: skip
    headings = re.findall(r"<h2 id=\"([^\"]+)\"", html_of(page))
    assert headings == ["verdict", "warnings", "run", "benchmark", "pictures", "settings", "left-out", "commands"]


def test_the_same_page_gives_the_same_bytes(png):
    assert html_of(full("text", png)) == html_of(full("text", png))


@pytest.mark.parametrize(
    ("tone", "icon", "word"),
    [("helps", "✓", "Helps"), ("hurts", "✕", "Hurts"), ("inconclusive", "≈", "Inconclusive"), ("info", "i", "Result")],
)
def test_verdict_is_told_by_word_and_sign_not_by_colour_alone(tone, icon, word):
    html = html_of(ReportPage("t", "s", Verdict(tone, "headline", "sentence")))
    assert f'aria-hidden="true">{icon}<' in html
    assert f">{word}<" in html


def test_anchors_are_unique_and_every_link_has_its_target():
    names = ["Settings", "Dice", "Dice", "Ünïcode", "日本", "日本"]
    elements = Elements(html_of(minimal(sections=[Section(n) for n in names], settings_yaml="a: 1", warnings=["w"])))
    ids = [attributes["id"] for _, attributes in elements.found if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert {a["href"].removeprefix("#") for a in elements.all("a")} <= set(ids)


def test_settings_and_commands_keep_their_lines():
    settings, command = "a:\n  b: 2\n\n  c: '<x>'\n", "medaug run x.yaml \\\n  --out out"
    html = html_of(minimal(settings_yaml=settings, commands=[command]))
    assert "a:\n  b: 2\n\n  c: &#39;&lt;x&gt;&#39;" in html
    assert command in html


def test_blank_lines_in_a_text_separate_paragraphs():
    html = html_of(minimal(sections=[Section("s", "first\nstill first\n\n  second")]))
    assert "<p>first\nstill first</p>" in html
    assert "<p>second</p>" in html


def test_file_name_that_is_not_utf8_still_renders(tmp_path):
    page = minimal(left_out=[("scan\udcff.nii", "unreadable")])
    assert "scan\\udcff.nii" in render(page, tmp_path / "r.html").read_text(encoding="utf-8")


def test_numbers_share_their_decimals_within_a_column():
    table = Table("t", ["arm", "Dice", "n", "size"], [["a", 0.7, 1234, 12.0], ["b", -0.0312, 5, 3.456]])
    assert format_columns(table) == [["a", "0.700", "1,234", "12.00"], ["b", "−0.031", "5", "3.46"]]


def test_missing_infinite_tiny_and_vanishing_numbers_are_readable():
    table = Table("t", ["x"] * 4, [[float("nan"), float("inf"), 2e-5, -1e-9], [None, float("-inf"), 0.5, 0.25]])
    assert format_columns(table)[0][:3] == ["–", "∞", "2e−05"]
    assert format_columns(table)[1][:2] == ["–", "−∞"]
    assert format_columns(Table("t", ["x"], [[-0.0]])) == [["0.000"]]


def test_number_columns_are_flush_right_and_words_are_not():
    table = Table("t", ["arm", "Dice", "interval", "verdict"], [["1", 0.7, "0.6 to 0.8", "helps"], ["2", 1, "–", ""]])
    assert numeric_columns(table) == [False, True, True, False]


def test_row_that_does_not_fit_its_columns_is_refused():
    with pytest.raises(ValueError, match="row 1: 1 cells, expected 2"):
        Table("t", ["a", "b"], [["x", 1.0], ["y"]])


def test_figure_without_alternative_text_or_with_other_data_is_refused(png):
    with pytest.raises(ValueError, match="alternative text"):
        Figure("f", png, "caption", " ")
    with pytest.raises(ValueError, match="not PNG"):
        Figure("f", b"GIF89a", "caption", "alt")


def test_unknown_tone_is_refused():
    with pytest.raises(ValueError, match="unknown tone 'great'"):
        Verdict("great", "h", "s")


def test_a_page_names_sequences_parts_and_regions_where_there_are_several(tiny_config):
    two = ("data.sequences=[flair,t1]", "data.tumor={core: 1, rim: [2, 4]}")
    facts = dict(data_facts(tiny_config(*two, "evaluation.regions={whole: [core, rim], core: [core]}")))
    assert facts["Sequences"].startswith("flair, t1") and facts["Parts of tumors"].startswith("core (1), rim (2, 4)")
    assert facts["Regions scored"] == "whole = core + rim; core = core"
    assert data_facts(tiny_config()) == [("Data", "built-in head phantoms")]
