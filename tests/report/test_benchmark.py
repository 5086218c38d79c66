"""Plots of a benchmark: the same bytes every time, as PNG and as SVG, readable without colours."""

import io

import numpy as np
import pytest
from PIL import Image

from medaug.evaluation.intervals import Interval
from medaug.figures.charts import difference_forest, grouped_bars, score_lines, to_png, to_svg

ARMS = ("none", "standard", "copy-paste", "gan", "standard+gan", "_own arm", "costs $5", "carvemix")
LINES = {
    arm: [Interval(0.1 * i + 0.05 * t, 0.1 * i, 0.1 * i + 0.2, 0.95) for t in range(3)] for i, arm in enumerate(ARMS)
}


@pytest.mark.parametrize("plot", [score_lines, grouped_bars])
@pytest.mark.parametrize("encode", [to_png, to_svg])
def test_the_same_figures_give_the_same_bytes(plot, encode):
    drawn = [plot(LINES, ticks=["1", "2", "5"], xlabel="x", ylabel="Dice", encode=encode) for _ in range(2)]
    assert drawn[0] == drawn[1]


def test_svg_holds_no_date_and_names_nothing_outside():
    text = score_lines(LINES, ticks=["1", "2", "5"], xlabel="x", ylabel="Dice", encode=to_svg).decode()
    assert text.startswith("<?xml") and "dc:date" not in text and "<image" not in text and 'href="http' not in text


def test_png_is_small_and_states_its_density():
    image = Image.open(io.BytesIO(grouped_bars(LINES, ticks=["a", "b", "c"], xlabel="size", ylabel="found")))
    assert image.info["dpi"][0] == pytest.approx(192, abs=0.1)


@pytest.mark.parametrize("plot", [score_lines, grouped_bars])
def test_an_arm_without_an_estimate_leaves_a_gap(plot):
    def pixels(last):
        lines = {"standard": LINES["standard"], "gan": [*LINES["gan"][:2], last]}
        png = plot(lines, ticks=["1", "2", "5"], xlabel="x", ylabel="Dice")
        return np.asarray(Image.open(io.BytesIO(png)).convert("L"))

    right = slice(int(pixels(None).shape[1] * 0.72), None)
    assert (pixels(None)[:, right] < 200).sum() < (pixels(LINES["gan"][2])[:, right] < 200).sum()


def test_arms_differ_without_colours():
    def axes(plot):
        return plot(LINES, ticks=["1", "2", "5"], xlabel="x", ylabel="Dice", encode=lambda figure: figure).axes[0]

    lines = {(str(line.get_linestyle()), line.get_marker()) for line in axes(score_lines).lines}
    hatches = {container.patches[0].get_hatch() for container in axes(grouped_bars).containers}
    assert len(lines) == len(hatches) == len(ARMS)


def test_a_forest_can_be_drawn_for_print():
    assert difference_forest([("gan", 0.1, 0.0, 0.2, "helps")], xlabel="Dice", encode=to_svg).startswith(b"<?xml")
