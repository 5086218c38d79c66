"""Plots: valid, small, deterministic PNG data, drawn without pyplot."""

import io
import subprocess
import sys
import warnings

import numpy as np
import pytest
from PIL import Image

from medaug.figures import charts as figures
from medaug.figures.distributions import distributions

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
    return {
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
        "pictures.before_after(np.zeros((4, 4)), np.ones((4, 4)), np.eye(4), title='t')\n"
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
    x, y = np.arange(5.0), np.array([0.0, 3.0, 6.0, 3.0, 0.0])
    assert figures._running_mean(x, y, 3)[2] == pytest.approx([1.5, 3, 4, 3, 1.5])
    assert figures._running_mean(x, y, 1)[2] == pytest.approx(y)


def test_forest_marks_the_verdict_and_draws_nothing_for_what_was_not_measured():
    helps = figures.difference_forest([("a", 0.05, 0.02, 0.08, "helps")], xlabel="Dice")
    hurts = figures.difference_forest([("a", -0.05, -0.08, -0.02, "hurts")], xlabel="Dice")
    missing = figures.difference_forest([("a", NAN, NAN, NAN, "helps")], xlabel="Dice")
    assert has_colour(helps, "#00795A")
    assert has_colour(hurts, "#B84A00")
    assert not has_colour(helps, "#B84A00")
    assert not has_colour(missing, "#00795A")


def test_forest_writes_the_interval_and_the_verdict():
    assert figures._interval_text(0.038, -0.008, 0.071, "helps") == "+0.038  [−0.008, +0.071]   helps"
    assert figures._interval_text(NAN, NAN, NAN, "not run").startswith("not measured")


def test_scores_of_unequal_patient_lists_are_drawn_unpaired():
    assert decoded(figures.score_by_patient({"a": [0.5, 0.6, NAN], "b": [0.7]}, ylabel="Dice")).size


def test_a_patient_stands_at_the_same_offset_in_every_arm():
    assert figures._spread(5).tolist() == figures._spread(9)[:5].tolist()
    assert np.abs(figures._spread(500)).max() <= 0.18


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
