"""The viewer in a real browser, from a file, without a network."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medaug.report import ReportPage, Section, render
from medaug.report.viewer import Viewer, encode

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is in medaug[dev]")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")
FLAGS = [
    "--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader",
    "--disable-background-networking",
]  # fmt: skip
NO_WEBGL = """
const context = HTMLCanvasElement.prototype.getContext
HTMLCanvasElement.prototype.getContext = function (kind, ...rest) {
  return kind.startsWith('webgl') ? null : context.call(this, kind, ...rest)
}
"""


@pytest.fixture(scope="module")
def browser() -> Iterator:
    with playwright.sync_playwright() as started:
        chromium = started.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def report(ball, tmp_path_factory) -> Path:
    corner = ball("a picture", (24, 20), oriented=False)
    for shown in (corner.before, corner.after):
        shown.image[:] = -100
        shown.image[:12, :10] = 200
    several = ball("two sequences", sequences=("ct", "pet"), group="Volumes")
    cases = [encode(ball("a volume", group="Volumes")), encode(corner), encode(several)]
    page = ReportPage("Viewer", "", None, sections=[Section("Look around", viewer=Viewer.of(cases))])
    return render(page, tmp_path_factory.mktemp("viewer") / "report.html")


@pytest.fixture(scope="module")
def opened(browser, report) -> Iterator:
    """The page after its first picture, and what it asked for and complained of."""
    context = browser.new_context(offline=True, viewport={"width": 900, "height": 600})
    page = context.new_page()
    page.asked, page.complaints = [], []
    page.on("request", lambda request: page.asked.append(request.url))
    page.on("console", lambda message: page.complaints.append(message.text))
    page.on("pageerror", lambda error: page.complaints.append(str(error)))
    page.goto(report.as_uri())
    page.wait_for_selector(".viewer[data-drawn]", timeout=60_000)
    yield page
    context.close()


@pytest.fixture
def page(opened):
    """The first case as it is opened."""
    choose_case(opened, 1)
    choose_case(opened, 0)
    check(opened, "after")
    check(opened, "axial")
    return opened


def choose_case(page, number: int) -> None:
    changed(page, lambda: page.select_option("[data-control=case]", str(number)))


def check(page, value: str) -> None:
    changed(page, lambda: page.evaluate(
        "(value) => { const radio = document.querySelector(`input[value=${value}]`);"
        " radio.checked = true; radio.dispatchEvent(new Event('change')) }", value))  # fmt: skip


def changed(page, act: Callable[[], object]) -> None:
    """Does something, and waits until the picture is drawn again."""
    drawn = page.get_attribute(".viewer", "data-drawn")
    act()
    page.wait_for_selector(f'.viewer:not([data-drawn="{drawn}"])', timeout=60_000)


def picture(page) -> np.ndarray:
    """(rows, columns, 3) of the canvas without its rounded corners."""
    png = page.locator(".viewer canvas").screenshot()
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)[16:-16, 16:-16]


def test_the_page_asks_nobody_and_complains_of_nothing(opened):
    assert opened.asked and all(url.startswith(("file:", "data:", "blob:")) for url in opened.asked)
    assert opened.complaints == []


def test_the_picture_is_drawn(page):
    assert len(np.unique(picture(page).reshape(-1, 3), axis=0)) > 20
    assert page.is_visible("canvas") and not page.is_visible(".viewer-stills") and not page.is_visible(".viewer-why")


def test_the_blend_slider_changes_the_picture(page):
    after = picture(page)
    page.focus("[data-control=blend]")
    changed(page, lambda: page.keyboard.press("Home"))
    before = picture(page)
    assert page.is_checked("input[value=blend]") and page.inner_text("[data-value=blend]") == "0 % removed"
    differ = np.abs(before - after).max(axis=2) > 20
    assert 0 < differ.mean() < 0.5, "the ball and no more"


def test_the_space_bar_flips_between_the_two_images(page):
    after = picture(page)
    page.focus("canvas")
    changed(page, lambda: page.keyboard.press(" "))
    assert page.is_checked("input[value=before]") and (picture(page) != after).any()
    changed(page, lambda: page.keyboard.press(" "))
    assert page.is_checked("input[value=after]") and (picture(page) == after).all()


def test_the_sequence_of_a_case_can_be_switched_and_the_place_stays(page):
    assert not page.is_visible("[data-control=channel]"), "one sequence"
    choose_case(page, 2)
    assert page.locator("[data-control=channel] option").all_inner_texts() == ["ct", "pet"]
    page.focus("canvas")
    page.keyboard.press("ArrowUp")
    place, ct = page.inner_text("[data-value=slice]"), picture(page)
    assert "HU" in page.inner_text("[data-says=place]")
    changed(page, lambda: page.select_option("[data-control=channel]", label="pet"))
    assert page.inner_text("[data-value=slice]") == place and "au" in page.inner_text("[data-says=place]")
    assert (picture(page) != ct).any(), "where it was dark it is bright"
    changed(page, lambda: page.select_option("[data-control=channel]", label="ct"))
    assert (picture(page) == ct).all()


@pytest.mark.parametrize("place", ["canvas", "[data-control=slice]"])
def test_arrow_keys_change_the_slice(page, place):
    first, shown = page.inner_text("[data-value=slice]"), picture(page)
    page.focus(place)
    page.keyboard.press("ArrowUp")
    second = page.inner_text("[data-value=slice]")
    number = int(first.split()[0])
    assert (first, second) == (f"{number} of 6", f"{number + 1} of 6")
    assert (picture(page) != shown).any(), "other noise"
    for _ in range(9):
        page.keyboard.press("ArrowUp")
    assert page.inner_text("[data-value=slice]") == "6 of 6"


def test_difference_is_white_where_nothing_changed_and_blue_where_it_is_darker(page):
    page.fill("[data-control=label]", "0")
    check(page, "difference")
    red, _, blue = np.moveaxis(picture(page)[::4, ::4].reshape(-1, 3), 1, 0)
    assert ((red > 235) & (blue > 235)).mean() > 0.2
    assert 0.005 < ((blue - red) > 40).mean() < 0.3 and not ((red - blue) > 90).any()
    page.fill("[data-control=label]", "35")


def test_label_opacity_goes_from_nothing_to_orange(page):
    changed(page, lambda: page.fill("[data-control=label]", "0"))
    grey = picture(page)
    changed(page, lambda: page.fill("[data-control=label]", "100"))
    orange = (np.abs(picture(page) - [230, 159, 0]).max(axis=2) < 12).mean()
    assert orange > 0.01 and not (np.abs(grey - [230, 159, 0]).max(axis=2) < 12).any()
    page.fill("[data-control=label]", "35")


@pytest.mark.parametrize("view", ["coronal", "sagittal", "planes", "render"])
def test_a_volume_is_seen_from_other_sides(page, view):
    axial = picture(page)
    check(page, view)
    assert (picture(page) != axial).mean() > 0.05 and len(np.unique(picture(page).reshape(-1, 3), axis=0)) > 20
    assert page.is_disabled("[data-control=slice]") == (view == "render")


def test_a_picture_is_drawn_with_x_to_the_right_and_y_downwards(page):
    choose_case(page, 1)
    page.fill("[data-control=label]", "0")
    page.wait_for_timeout(100)
    drawn = picture(page).max(axis=2)
    rows, columns = np.nonzero(drawn > 200)
    body_rows, body_columns = np.nonzero(drawn > 20)
    assert rows.min() <= body_rows.min() + 2 and rows.max() < body_rows.mean() + 20
    assert columns.min() <= body_columns.min() + 2 and columns.max() < body_columns.mean() + 20
    assert not page.is_visible("[data-control=slice]") and not page.is_visible("input[value=coronal]")
    page.fill("[data-control=label]", "35")


def test_zoom_enlarges_around_the_cross(page):
    near = (picture(page) > 20).mean()
    page.fill("[data-control=zoom]", "3")
    page.wait_for_timeout(100)
    assert (picture(page) > 20).mean() > 1.3 * near and page.inner_text("[data-value=zoom]") == "3×"


def test_the_keyboard_reaches_every_control_and_shows_where_it_is(page):
    page.evaluate("document.activeElement.blur()")
    reached = {}
    for _ in range(16):
        page.keyboard.press("Tab")
        name, outline = page.evaluate("""() => {
            const at = document.activeElement, marked = at.type === 'radio' ? at.nextElementSibling
                : at.tagName === 'CANVAS' ? at.parentElement : at
            return [at.dataset.control ?? at.dataset.choice ?? at.tagName, getComputedStyle(marked).outlineStyle]
        }""")
        reached[name] = outline
    wanted = {"case", "view", "image", "CANVAS", "slice", "blend", "label", "zoom"}
    assert wanted <= set(reached) and all(reached[name] != "none" for name in wanted)


def test_every_control_has_a_name(page):
    names = page.evaluate("""() => [...document.querySelectorAll('.viewer input, .viewer select')].map(
        (control) => control.closest('label')?.innerText.trim())""")
    assert names and all(names)


def test_print_shows_the_still_pictures(page):
    page.emulate_media(media="print")
    assert page.locator(".viewer-stills img").count() == 3 and page.is_visible(".viewer-stills img >> nth=0")
    assert not page.is_visible("canvas") and not page.is_visible("[data-control=case]")
    page.emulate_media(media="screen")


def test_without_webgl_the_still_pictures_stand_there_and_it_says_why(browser, report):
    context = browser.new_context(offline=True)
    context.add_init_script(NO_WEBGL)
    page = context.new_page()
    page.goto(report.as_uri())
    page.wait_for_selector(".viewer-why:has-text('no WebGL 2')")
    assert page.is_visible(".viewer-stills img >> nth=1") and not page.is_visible("canvas")
    context.close()


def test_without_scripts_the_still_pictures_stand_there(browser, report):
    context = browser.new_context(offline=True, java_script_enabled=False)
    page = context.new_page()
    page.goto(report.as_uri())
    assert page.is_visible(".viewer-stills img >> nth=1") and not page.is_visible("canvas")
    context.close()
