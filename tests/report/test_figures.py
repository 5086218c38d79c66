"""Plots: valid, small PNG data (or SVG), the same for the same figures, readable without colours, without pyplot."""

import io
import subprocess
import sys
import warnings
from functools import partial

import numpy as np
import pytest
from PIL import Image

from medaug.evaluation.intervals import Interval
from medaug.figures import charts as figures
from medaug.figures.distributions import crop_grid, distributions, histograms, scatter

LINES = {
    arm: [Interval(0.1 * i + 0.05 * t, 0.1 * i, 0.1 * i + 0.2, 0.95) for t in range(3)]
    for i, arm in enumerate(
        ("none", "standard", "copy-paste", "gan", "standard+gan", "_own arm", "costs $5", "carvemix")
    )
}
by_setting = partial(figures.by_setting, ticks=["1", "2", "5"], xlabel="x", ylabel="Dice")
KINDS = pytest.mark.parametrize("plot", [by_setting, partial(by_setting, bars=True)], ids=["lines", "bars"])
NAN = float("nan")


def noisy_curves(rng: np.random.RandomState) -> dict:
    steps = np.arange(3000)
    names = ["cycle", "adversarial a2b", "adversarial b2a", "identity", "kl", "style", "content", "spectrum"]
    return {name: (steps, i + rng.randn(steps.size)) for i, name in enumerate(names)}


@pytest.fixture(scope="module")
def each() -> dict[str, bytes]:
    return draw_each()


def draw_each() -> dict[str, bytes]:
    rng = np.random.RandomState(0)
    scores = np.clip(0.7 + 0.15 * rng.randn(4, 60), 0, 1)
    lesions = rng.normal(size=(40, 2)), rng.normal(1, 1, (30, 2)), rng.gamma(2, 1, 200).tolist()
    return {
        "lines": by_setting(LINES),
        "bars": by_setting(LINES, bars=True),
        "histograms": histograms(*lesions, 3.0, xlabels=["x", "y"], figure_label="distance"),
        "scatter": scatter(*lesions, 3.0, labels=("a", "b"), figure_label="d²"),
        "curves": figures.learning_curves(noisy_curves(rng), title="Losses", ylabel="loss"),
        "forest": figures.difference_forest(
            [(f"arm {i}", 0.01 * i, 0.01 * i - 0.02, 0.01 * i + 0.02, "inconclusive") for i in range(9)], xlabel="Dice"
        ),
        "scores": figures.score_by_patient({f"arm {i}": row for i, row in enumerate(scores)}, ylabel="Dice"),
        "distributions": distributions(rng.gamma(4, 5, 500), rng.gamma(4, 6, 900), xlabel="diameter (mm)"),
    }


def decoded(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)


def has_colour(png: bytes, hexadecimal: str, tolerance: int = 12) -> bool:
    wanted = np.array([int(hexadecimal[i : i + 2], 16) for i in (1, 3, 5)])
    return bool((np.abs(decoded(png) - wanted).max(axis=-1) <= tolerance).any())


def test_plots_are_the_same_every_time(each):
    assert draw_each() == each


def test_plots_are_small(each):
    assert {name: len(png) for name, png in each.items() if len(png) > 150 * 1024} == {}


def test_plots_hold_no_metadata_but_their_density(each):
    for png in each.values():
        info = Image.open(io.BytesIO(png)).info
        assert set(info) <= {"dpi"}
        assert info["dpi"][0] == pytest.approx(192, abs=0.1)


def test_plots_and_pictures_never_load_pyplot():
    code = (
        "import sys, numpy as np\n"
        "from medaug.figures import charts as figures, pictures\n"
        "figures.learning_curves({'a': ([0, 1], [1, 2])}, title='t', ylabel='y')\n"
        "pictures.before_after(np.zeros((1, 4, 4)), np.ones((1, 4, 4)), np.eye(4), title='t')\n"
        "sys.exit('matplotlib.pyplot' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_plots_say_so_when_there_is_nothing_to_draw():
    empty = [
        figures.learning_curves({}, title="t", ylabel="y"),
        figures.learning_curves({"a": ([], []), "b": ([1, 2], [NAN, NAN])}, title="t", ylabel="y"),
        figures.difference_forest([], xlabel="x"),
        figures.score_by_patient({}, ylabel="y"),
        figures.score_by_patient({"a": [], "b": [NAN]}, ylabel="y"),
        distributions([], [NAN], xlabel="x"),
    ]
    for png in empty:
        assert (decoded(png) != 255).any()


@pytest.mark.parametrize("smooth", [None, 1, 7, 1000])
def test_learning_curves_take_gaps_single_points_and_any_smoothing(smooth):
    series = {"gap": ([0, 1, 2, 3], [1.0, NAN, float("inf"), 2.0]), "one": ([1], [1.5]), "flat": ([0, 3], [1, 1])}
    assert decoded(figures.learning_curves(series, title="t", ylabel="y", smooth=smooth)).size


def test_learning_curves_name_the_series_whose_lengths_differ():
    with pytest.raises(ValueError, match="'cycle': 3 steps and 2 values"):
        figures.learning_curves({"cycle": ([0, 1, 2], [1.0, 2.0])}, title="t", ylabel="y")


def test_running_mean_is_centred_and_cut_short_at_the_ends():
    values = np.array([0.0, 3.0, 6.0, 3.0, 0.0])
    assert figures._running_mean(values, 3) == pytest.approx([1.5, 3, 4, 3, 1.5])
    assert figures._running_mean(values, 2) == pytest.approx([1.5, 4.5, 4.5, 1.5, 0])
    assert figures._running_mean(values, 1) == pytest.approx(values)


def test_forest_marks_the_verdict_and_draws_nothing_for_what_was_not_measured():
    helps = figures.difference_forest([("a", 0.05, 0.02, 0.08, "helps")], xlabel="Dice")
    hurts = figures.difference_forest([("a", -0.05, -0.08, -0.02, "hurts")], xlabel="Dice")
    missing = figures.difference_forest([("a", NAN, NAN, NAN, "helps")], xlabel="Dice")
    assert has_colour(helps, "#00795A")
    assert has_colour(hurts, "#B84A00")
    assert not has_colour(helps, "#B84A00")
    assert not has_colour(missing, "#00795A")


def test_forest_writes_the_interval_and_the_verdict():
    rows = [("a", 0.038, -0.008, 0.071, "helps"), ("b", NAN, NAN, NAN, "not run")]
    beside = figures.difference_forest(rows, xlabel="Dice", encode=lambda figure: figure).axes[1]
    written = [text.get_text() for text in beside.get_yticklabels()]
    assert written == ["+0.038  [−0.008, +0.071]   helps", "not measured   not run"]


def test_scores_of_unequal_patient_lists_are_drawn_unpaired():
    assert decoded(figures.score_by_patient({"a": [0.5, 0.6, NAN], "b": [0.7]}, ylabel="Dice")).size


def test_a_patient_stands_at_the_same_offset_in_every_arm():
    scores = {"a": [0.1, 0.2, 0.3], "b": [0.1, 0.2, 0.3], "c": [0.1, 0.2]}
    ax = figures.score_by_patient(scores, ylabel="Dice", encode=lambda figure: figure).axes[0]
    first, second, third = (dots.get_offsets()[:, 0] - at for at, dots in enumerate(ax.collections))
    np.testing.assert_allclose(first, second)
    np.testing.assert_allclose(first[:2], third)
    assert np.abs(first).max() <= 0.18


def test_distribution_of_one_value_is_drawn():
    assert decoded(distributions([3.0], [3.0, 3.0], xlabel="x")).size


def test_names_with_dollars_underscores_and_brackets_are_shown_as_they_are():
    odd = "_$x^$ {a} \\frac <b>"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figures.learning_curves({odd: ([0, 1], [1, 2])}, title=odd, ylabel=odd, xlabel=odd)
        figures.difference_forest([(odd, 0.1, 0.0, 0.2, odd)], xlabel=odd)
        figures.score_by_patient({odd: [0.1, 0.2], "b": [0.3, 0.4]}, ylabel=odd)
        distributions([1, 2], [2, 3], xlabel=odd)


@KINDS
def test_an_arm_without_an_estimate_leaves_a_gap(plot):
    def pixels(last):
        return decoded(plot({"standard": LINES["standard"], "gan": [*LINES["gan"][:2], last]})).sum(axis=-1)

    right = slice(int(pixels(None).shape[1] * 0.72), None)
    assert (pixels(None)[:, right] < 600).sum() < (pixels(LINES["gan"][2])[:, right] < 600).sum()


def test_arms_differ_without_colours():
    lines, bars = (by_setting(LINES, bars=bars, encode=lambda figure: figure).axes[0] for bars in (False, True))
    assert len({(str(line.get_linestyle()), line.get_marker()) for line in lines.lines}) == len(LINES)
    assert len({container.patches[0].get_hatch() for container in bars.containers}) == len(LINES)


@KINDS
def test_svg_is_the_same_every_time_holds_no_date_and_names_nothing_outside(plot):
    text, again = (plot(LINES, encode=figures.to_svg).decode() for _ in range(2))
    assert text == again
    assert text.startswith("<?xml") and "dc:date" not in text and "<image" not in text and 'href="http' not in text


def test_each_column_has_a_panel_and_the_floor_another(each):
    one = histograms(np.arange(9), np.arange(5), [1.0, 2.0], 3.0, xlabels=["x"], figure_label="distance")
    assert decoded(each["histograms"]).shape[1] == pytest.approx(1.5 * decoded(one).shape[1], rel=0.01)


def test_sets_without_spread_are_drawn():
    flat = np.full(10, 2.0)
    assert decoded(histograms(flat, flat, [0.0] * 5, 0.0, xlabels=["x"], figure_label="distance")).size


def test_a_volume_is_shown_where_most_of_the_lesion_is():
    image, mask = np.zeros((8, 8, 4)), np.zeros((8, 8, 4), bool)
    image[..., 2], mask[2:6, 2:6, 2] = 1.0, True
    mask[3, 3, 1] = True
    shown = crop_grid([[(image, mask)]], ["a"], columns=["lesion"], title="one")
    flat = crop_grid([[(image[..., 2], mask[..., 2])]], ["a"], columns=["lesion"], title="one")
    assert shown == flat
