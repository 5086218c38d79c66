"""Which arms there are where, and a user's own: one entry that names a transform."""

import csv
from dataclasses import replace

import pytest
import torch

from medaug.config.evaluation import rival_of, with_gan
from medaug.config.files import dump_config, load_config
from medaug.data.atomic import read_json
from medaug.data.prepared import views_of
from medaug.data.records import prepared_cases
from medaug.errors import ConfigError
from medaug.evaluation.samples import SegmentationSamples, ViewFolder
from medaug.experiment.arms import ARMS, arms_of, check_arms
from medaug.stages.evaluate import evaluate
from medaug.stages.pipeline import run_pipeline

MADE_ONLINE = {name for name, arm in ARMS.items() if arm.synthetic in ("online", "removed")}
GATED = {name for name, arm in ARMS.items() if arm.synthetic == "accepted"}
MODULE = '''
from monai.transforms import MapTransform, RandomizableTransform


class RandDimd(RandomizableTransform, MapTransform):
    """Darkens the image by a drawn part."""

    def __init__(self, keys=("image",), prob=0.5, most=0.5):
        MapTransform.__init__(self, keys)
        RandomizableTransform.__init__(self, prob)
        self.most = most

    def __call__(self, data):
        d = dict(data)
        self.randomize(None)
        by = self.R.uniform(0, self.most)
        for key in self.key_iterator(d):
            if self._do_transform:
                d[key] = (d[key] + 1) * (1 - by) - 1
        return d


def not_a_transform():
    return 3
'''


@pytest.fixture
def module(tmp_path, monkeypatch):
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "medaug_test_arms.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path / "own")


def with_own(tiny_config, *more, **entry):
    lines = [f"evaluation.own_arms.dim.{key}={value}" for key, value in entry.items()]
    return tiny_config(*lines, *more)


def test_an_own_arm_is_one_entry_and_stands_in_every_table(module, copy_of_run, tiny_config):
    config = with_own(tiny_config, "evaluation.arms=[standard, standard+gan]", transform="medaug_test_arms.RandDimd")
    assert config.evaluation.arms == ("standard", "standard+gan", "dim")
    assert evaluate(config, copy_of_run)
    summary = read_json(copy_of_run.evaluation / "summary.json")
    assert set(summary["arms"]) == {"standard", "standard+gan", "dim"}
    assert {c["arm"] for c in summary["comparisons"]} == {"standard+gan", "dim"}
    rows = list(csv.DictReader((copy_of_run.evaluation / "scores.csv").open()))
    assert {row["arm"] for row in rows} == {"standard", "standard+gan", "dim"}


def test_an_entry_may_be_written_in_a_file_and_read_back(module, tmp_path):
    (tmp_path / "pipeline.yaml").write_text(
        "evaluation:\n  own_arms:\n    dim: {transform: medaug_test_arms.RandDimd, args: {prob: 1.0}, standard: no}\n"
    )
    config = load_config(tmp_path / "pipeline.yaml", [])
    assert config.evaluation.own_arms["dim"].args == {"prob": 1.0}
    (tmp_path / "resolved.yaml").write_text(dump_config(config))
    assert load_config(tmp_path / "resolved.yaml", []) == config
    check_arms(config)


def test_a_transform_of_monai_is_an_arm_too(tiny_run, tiny_config):
    args = "{keys: [image, label], prob: 1.0, spatial_axis: 0}"
    config = with_own(tiny_config, transform="monai.transforms.RandFlipd", args=args, standard="false")
    check_arms(config)
    plain, own = (samples_of(tiny_run, config, arm) for arm in ("none", "dim"))
    for index in range(6):
        assert torch.equal(own[index]["image"], plain[index]["image"].flip(1))
        assert torch.equal(own[index]["label"], plain[index]["label"].flip(1))


def samples_of(run, config, arm, seed=0):
    patients = read_json(run.split)["train"]
    entries = [entry for entry in prepared_cases(run.datalist) if entry.patient in patients]
    real = ViewFolder(views_of(entries, 2), run.prepared)
    augment = arms_of(config.evaluation)[arm].augmentation((32, 32), real)
    return SegmentationSamples(real, None, synthetic_ratio=0, seed=seed, length=50, augmentation=augment)


def test_the_random_state_of_an_own_arm_is_that_of_seed_and_sample(module, tiny_run, tiny_config):
    config = with_own(tiny_config, transform="medaug_test_arms.RandDimd", args="{prob: 0.7}")
    first, again = (samples_of(tiny_run, config, "dim") for _ in range(2))
    ahead = [first[index]["image"] for index in (9, 3, 5)]
    assert all(torch.equal(a, again[i]["image"]) for a, i in zip(ahead, (9, 3, 5), strict=True))
    other = samples_of(tiny_run, config, "dim", seed=1)
    assert not torch.equal(other[3]["image"], ahead[1])
    standard = samples_of(tiny_run, config, "standard")
    assert any(not torch.equal(standard[i]["image"], first[i]["image"]) for i in range(10))


def test_every_rival_has_its_twins_which_differ_from_it_by_the_gan_alone(tiny_config):
    own = "evaluation.own_arms={mine: {transform: monai.transforms.RandFlipd, args: {keys: [image]}}}"
    arms = arms_of(tiny_config(own).evaluation)
    rivals = {name for name, arm in arms.items() if not (arm.synthetic or arm.target)}
    assert rivals == {"none", "standard", "strong", "histogram-match", "copy-paste", "carvemix", "cutmix", "mine"}
    for gan, source in {"gan": "online", "gan-offline": "written", "gan-gated": "accepted"}.items():
        twins = {with_gan(rival, gan): rival for rival in rivals}
        assert {gan, f"standard+{gan}", f"{gan}+strong", f"{gan}+mine"} < set(twins)
        for twin, rival in twins.items():
            assert rival_of(twin) == rival and arms[twin] == replace(arms[rival], synthetic=source)


def test_rivals_and_gan_stands_for_the_twin_of_every_rival_that_is_asked_for(tiny_config):
    own = "evaluation.own_arms={mine: {transform: monai.transforms.RandFlipd, args: {keys: [image]}}}"
    config = tiny_config("evaluation.arms=[none, standard, copy-paste, removal, rivals+gan]", own)
    asked = ("none", "standard", "copy-paste", "removal", "gan", "standard+gan", "gan+copy-paste", "gan+mine", "mine")
    assert config.evaluation.arms == asked
    check_arms(config)
    both = tiny_config("evaluation.arms=[standard, standard+gan, rivals+gan-offline, rivals+gan]")
    assert both.evaluation.arms == ("standard", "standard+gan", "standard+gan-offline")
    with pytest.raises(ConfigError, match=r"found rivals\+gan and no arm without a GAN; expected some, such as stand"):
        tiny_config("evaluation.arms=[removal, rivals+gan]")
    with pytest.raises(ConfigError, match=r"found standard\+gan; .* Write standard\+gan-offline in place of standard"):
        check_arms(tiny_config("evaluation.arms=[standard, rivals+gan]", "evaluation.task=classification"))


def test_a_name_of_earlier_versions_is_refused_with_the_one_of_today(tiny_config):
    with pytest.raises(ConfigError, match=r"Write strong in place of strong-intensity, gan\+strong in place of gan"):
        check_arms(tiny_config("evaluation.arms=[standard, strong-intensity, gan+strong-intensity]"))


def test_the_default_arms_say_where_the_gan_inserts_nothing_online_and_keep_own_ones(tiny_config):
    own = "evaluation.own_arms={mine: {transform: monai.transforms.RandFlipd, args: {keys: [image]}}}"
    assert tiny_config(own).evaluation.arms == ("standard", "standard+gan", "mine")
    written = tiny_config(own, "evaluation.task=classification")
    assert written.evaluation.arms == ("standard", "standard+gan-offline", "mine")


def test_an_own_arm_may_learn_from_synthetic_samples(module, copy_of_run, tiny_config):
    config = with_own(
        tiny_config, "evaluation.arms=[standard, strong]", transform="medaug_test_arms.RandDimd",
        synthetic="online",
    )  # fmt: skip
    evaluate(config, copy_of_run)
    assert "without_room" in read_json(copy_of_run.evaluation / "cells" / "dim-seed0.json")
    summary = read_json(copy_of_run.evaluation / "summary.json")
    rivals = {(rival["arm"], rival["reference"]) for rival in summary["rivals"]}
    assert rivals <= {("dim", "strong")}, "own arms with synthetic samples are GAN arms"


def test_only_an_own_arm_that_changed_is_trained_again(module, copy_of_run, tiny_config):
    arms = "evaluation.arms=[standard, gan+dim]"
    evaluate(with_own(tiny_config, arms, transform="medaug_test_arms.RandDimd"), copy_of_run)
    cells = copy_of_run.evaluation / "cells"
    before = {path.name: path.stat().st_mtime_ns for path in cells.iterdir()}
    evaluate(with_own(tiny_config, arms, transform="medaug_test_arms.RandDimd", args="{prob: 0.9}"), copy_of_run)
    after = {path.name: path.stat().st_mtime_ns for path in cells.iterdir()}
    assert {name for name in after if before[name] != after[name]} == {"dim-seed0.json", "gan+dim-seed0.json"}


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({"transform": "no_such_package.Rand"}, "own_arms.dim.transform: no_such_package.Rand cannot be imported"),
        ({"transform": "Rand"}, "Rand cannot be imported.*expected package.module.Name.*PYTHONPATH"),
        ({"transform": "medaug_test_arms.RandThing"}, "found no RandThing in medaug_test_arms"),
        ({"transform": "medaug_test_arms.not_a_transform"}, "makes a int; expected a MONAI dict transform"),
        ({"transform": "medaug_test_arms.RandDimd", "args": "{darker: 1}"}, "cannot be built with darker=1"),
        ({"transform": "monai.transforms.RandFlipd"}, "cannot be built with nothing.*keys"),
    ],
)  # fmt: skip
def test_an_own_arm_that_cannot_be_built_is_told_before_anything_is_written(
    module, tmp_path, tiny_config, entry, words
):
    with pytest.raises(ConfigError, match=words):
        run_pipeline(with_own(tiny_config, **entry), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_names_that_are_taken_or_no_file_names_are_refused(tiny_config):
    taken = tiny_config("evaluation.own_arms={standard: {transform: medaug_test_arms.RandDimd}}")
    with pytest.raises(ConfigError, match="found standard, which medaug has; choose another name"):
        check_arms(taken)
    with pytest.raises(ConfigError, match=r"own_arms\.\.\./dim"):
        tiny_config("evaluation.own_arms={../dim: {transform: medaug_test_arms.RandDimd}}")
    with pytest.raises(ConfigError, match=r"unknown key 'evaluation\.own_arms\.dim\.trasform'; did you mean"):
        tiny_config("evaluation.own_arms={dim: {trasform: medaug_test_arms.RandDimd}}")


@pytest.mark.parametrize(
    ("settings", "refused"),
    [
        ((), {"target-labels"}),
        (("evaluation.task=classification",), {"target-labels", *MADE_ONLINE}),
        (("domain=ct",), MADE_ONLINE | GATED),
    ],
)
def test_arms_that_are_not_defined_somewhere_are_refused_there(settings, refused):
    def fits(arm):
        try:
            check_arms(load_config(None, [*settings, f"evaluation.arms=[{arm}]"]))
        except ConfigError as error:
            assert f"found {arm}; expected some of: none, standard" in str(error)
            assert ("nothing is inserted online here" in str(error)) == bool(settings)
            asked_online = arm in MADE_ONLINE and arm != "removal"
            assert (f" in place of {arm}" in str(error)) == asked_online, "the remedy names the arm of written cases"
            return False
        return True

    assert {arm for arm in ARMS if not fits(arm)} == refused
