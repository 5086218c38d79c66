"""The page of a benchmark: the answer in words, what it would take to tell, and a picture only where there is one."""

import re
from dataclasses import asdict
from html import unescape

import numpy as np
import pytest

from medaug import api
from medaug.benchmarks.results import read_results
from medaug.errors import RunError
from medaug.evaluation.intervals import Interval
from medaug.experiment.cells import cell_path, failures_path
from medaug.experiment.records import Detection, RateFacts
from medaug.runs.folder import RunDir

from .planted import GAINS, PATIENTS, planted_benchmark

CLEAR = {"standard": 0.0, "copy-paste": 0.05, "standard+gan": 0.2, "gan+copy-paste": 0.25}


@pytest.fixture
def drawn(tmp_path, tiny_config):
    """`drawn(gains, ...)`: the page of a planted benchmark, as text."""

    def drawn(gains=GAINS, **options):
        run = planted_benchmark(tmp_path / "benchmark", tiny_config(), gains, **options)
        return unescape(api.report(run.root).read_text())

    return drawn


def verdict(html):
    tone = re.search(r'<div class="verdict (\w+)"', html)[1]
    headline = re.search(r'<h2 id="verdict">(.*?)</h2>', html)[1]
    return tone, headline, re.search(r'<p class="sentence">(.*?)</p>', html)[1]


def titles(html):
    return re.findall(r"<h3>(.*?)</h3>", html)


def test_what_the_gan_adds_to_the_best_rival_comes_first_and_the_other_arms_after_it(drawn):
    html = drawn(CLEAR)
    tone, headline, sentence = verdict(html)
    assert tone == "helps"
    assert re.fullmatch(r"copy-paste is the best rival \(Dice 0\.5\d\d\); gan\+copy-paste helps against it: "
                        r"\+(19|20|21)\.\d points \(95% interval \+\d+\.\d to \+\d+\.\d\)", headline)  # fmt: skip
    assert sentence.startswith("With 5 labelled patients and 50% of a GAN arm's samples synthetic, on 12 test patients")
    assert "standard+gan (0.6" in sentence and "95% interval" in sentence and "To tell" not in sentence
    assert titles(html)[0] == "Each rival, without and with the GAN"


def test_a_gan_that_hurts_the_best_rival_is_said_to_even_where_another_arm_gains(drawn):
    tone, headline, sentence = verdict(drawn({**CLEAR, "gan+copy-paste": -0.2}))
    assert tone == "hurts" and "gan+copy-paste hurts against it" in headline
    assert re.search(r"standard\+gan \(0\.\d+\) helps against copy-paste", sentence)


def test_a_twin_that_was_not_trained_is_named(drawn):
    tone, headline, sentence = verdict(drawn({"standard": 0.0, "copy-paste": 0.2, "standard+gan": 0.1}))
    assert tone == "info" and "gan+copy-paste was not trained: add it to evaluation.arms" in headline
    assert "hurts against copy-paste" in sentence and "helps against standard" in sentence


def test_an_undecided_answer_says_what_it_would_take(drawn):
    tone, headline, sentence = verdict(drawn({"standard": 0.0, "standard+gan": 0.02}, noise=0.1))
    assert tone == "inconclusive" and "standard+gan is inconclusive against it" in headline
    shown, needed = re.search(r"shows a true difference of about (\d+\.\d) points .* about ([\d,]+) test patients",
                              sentence).groups()  # fmt: skip
    assert float(shown) > 2 and int(needed.replace(",", "")) > len(PATIENTS)


def test_one_seed_gives_no_verdict_on_the_page_nor_on_the_console(tmp_path, tiny_config, edit_json):
    run = planted_benchmark(tmp_path / "benchmark", tiny_config(), CLEAR, seeds=(0,))
    note = "The generator towards domain b leaves its input unchanged (no-op)."
    edit_json(RunDir(run.root / "labelled-5").weights / "model.json", lambda facts: facts.update(warnings=[note]))
    html = unescape(api.report(run.root).read_text())
    tone, headline, sentence = verdict(html)
    assert tone == "info" and "gan+copy-paste has too few seeds for a verdict against it" in headline
    assert "a verdict needs 2 seeds or more" in sentence
    assert html.index("Warnings") < html.index(f"labelled-5: {note}") < html.index("What was run")
    shown = re.sub(r"<style>.*?</style>|<[^>]*>", " ", html, flags=re.DOTALL) + read_results(run).text()
    assert not re.search(r"\b(helps|hurts|inconclusive)\b", shown, re.IGNORECASE)
    assert "a verdict needs 2 seeds or more" in read_results(run).text() and headline in read_results(run).text()


def test_a_benchmark_without_a_gan_arm_answers_nothing(drawn):
    assert verdict(drawn({"standard": 0.0, "copy-paste": 0.1}))[1].endswith("no arm with a GAN was trained")


def test_curves_are_drawn_where_there_are_several_settings(drawn):
    html = drawn(labelled=(2, 5), ratios=(0.25, 0.5))
    assert "Dice by number of labelled patients" in titles(html) and "Dice by synthetic part" in titles(html)
    assert "Difference in Dice to copy-paste" in titles(html)


def test_one_setting_has_no_curves_and_no_size_bars(drawn):
    html = drawn()
    assert not [title for title in titles(html) if "labelled" in title or "synthetic part" in title or "size" in title]


def test_lesions_by_size_are_drawn_where_they_were_counted(tmp_path, tiny_config, edit_json):
    run = planted_benchmark(tmp_path / "benchmark", tiny_config(), CLEAR)

    def count(summary):
        for group in summary["groups"]:
            sizes = ("under 10 mm", "10 mm and more")
            rates = {f"sensitivity: {size}": RateFacts(size, size, "lesions", 7, 3, True, None) for size in sizes}
            found = {"sensitivity: under 10 mm": Interval(0.5, 0.4, 0.6, 0.95), "sensitivity: 10 mm and more": None}
            group["detection"] = asdict(Detection([2], rates, dict.fromkeys(group["arms"], found), []))

    edit_json(run.results / "summary.json", count)
    html = unescape(api.report(run.root).read_text())
    assert "Lesions found by size" in titles(html) and "standard+gan 0.50" in html


def test_the_worst_patients_are_shown_where_cells_kept_them(tmp_path, tiny_config):
    run = planted_benchmark(tmp_path / "benchmark", tiny_config(), CLEAR)
    for seed in (0, 1):
        path = failures_path(cell_path(RunDir(run.root / "labelled-5"), "gan+copy-paste", seed, 0.5))
        path.parent.mkdir(exist_ok=True)
        square = np.zeros((16, 16), np.uint8)
        square[4:8, 4:8] = 1
        np.savez_compressed(path, patients=np.array(["p03", "p07"]), scores=np.array([0.1 + seed, 0.2]), **{
            f"{kind}{number}": square for kind in ("image", "truth", "prediction") for number in (0, 1)})  # fmt: skip
    html = unescape(api.report(run.root).read_text())
    assert "Worst patients of gan+copy-paste" in titles(html)
    assert "p03: Dice 0.10, seed 0; p07: Dice 0.20, seed 0" in html


def test_cells_of_earlier_settings_are_not_shown(tmp_path, tiny_config):
    run = planted_benchmark(tmp_path / "benchmark", tiny_config(), CLEAR)
    before = api.report(run.root).read_bytes()
    cells = RunDir(run.root / "labelled-5").evaluation / "cells"
    stale = (cells / "standard-seed0.json").read_text().replace('"standard"', '"cutmix"')
    (cells / "cutmix-seed0.json").write_text(stale)
    assert api.report(run.root).read_bytes() == before


def test_every_picture_has_words_and_nothing_is_loaded_from_outside(drawn):
    html = drawn()
    images = re.findall(r"<img [^>]*>", html)
    assert len(images) == 3
    assert all(re.search(r'alt="[^"]{20,}"', image) and 'src="data:image/png' in image for image in images)
    assert not re.search(r"https?://|<script", html)


def test_an_arm_without_a_gan_has_the_same_scores_in_every_ratio(tmp_path, tiny_config):
    run = planted_benchmark(tmp_path / "benchmark", tiny_config(), CLEAR, labelled=(2,), ratios=(0.25, 0.5))
    results = read_results(run)
    groups = [results.group(2, ratio) for ratio in (0.25, 0.5)]
    assert results.gan_arms == {"standard+gan", "gan+copy-paste"}
    few, many = ({(cell.arm, cell.seed): cell.scores for cell in results.cells(group)} for group in groups)
    assert few["standard", 0] == many["standard", 0] and few["standard+gan", 0] != many["standard+gan", 0]
    scores = [values["dice"] for seed in (0, 1) for values in few["standard", seed].values()]
    assert np.mean(scores) == pytest.approx(groups[0].arms["standard"]["dice"].mean, abs=1e-4)


def test_without_results_there_is_no_page(tmp_path, tiny_config):
    run = planted_benchmark(tmp_path / "benchmark", tiny_config(), CLEAR)
    (run.results / "cells.csv").unlink()
    with pytest.raises(RunError, match="unfinished benchmark: found no results/cells.csv"):
        api.report(run.root)
