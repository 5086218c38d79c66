"""Two sequences to one: MR and non-contrast CT to contrast CT, from the settings to the scores."""

import numpy as np
import pytest

from medaug.audits.scans import translated_image
from medaug.config.files import load_config
from medaug.data.atomic import read_json
from medaug.data.records import prepared_cases
from medaug.errors import ConfigError
from medaug.models.weights import load_weights
from medaug.stages.pipeline import run_pipeline
from medaug.stages.tasks import task_of
from medaug.transforms import SynthesizeCT
from medaug.volumes import Window

TINY = (
    "domain=ct", "evaluation.task=translation", "data.sequences=[mr,noncontrast]",
    "data.modality={noncontrast: CT}", "data.phantoms.patients=5", "data.phantoms.shape=[32,32,7]",
    "data.phantoms.spacing_mm=[12,12,24]", "split.train=3", "split.validation=0", "training.steps=2",
    "training.batch_size=1", "training.workers=0", "translator.width=4", "translator.depth=2",
    "translator.discriminator_width=4", "translator.discriminator_layers=1",
)  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """pix2pix, scored and reported."""
    folder = tmp_path_factory.mktemp("channels") / "run"
    return run_pipeline(load_config(None, [*TINY, "translator.type=pix2pix", "audit.volumes=1"]), folder)


def test_a_run_trains_scores_and_reports_on_all_sequences(run):
    weights = load_weights(run.weights)
    assert weights.sequences == ("mr", "noncontrast") and weights.target_sequences == ("contrast",)
    summary = read_json(run.evaluation / "summary.json")
    assert set(summary["arms"]) == {"pix2pix", "mean", "intensity"} and run.report.exists()
    assert list(run.previews.glob("*.png")) and (run.audit / "pictures.png").exists()


def test_a_held_out_scan_becomes_a_ct(run):
    case = next(case for case in prepared_cases(run.datalist) if case.patient in read_json(run.split)["test"])
    image, windows = translated_image(case, run.prepared, SynthesizeCT(run.weights))
    assert image.shape == (1, *case.shape) and image.dtype == np.int16
    assert windows == (Window(-160, 240, "HU"),) and len(case.windows) == 2


@pytest.mark.parametrize("method", ["cyclegan", "unit", "munit", "regression"])
def test_every_other_method_trains_between_them(tmp_path, method):
    judged = [setting for setting in TINY if method != "regression" or "discriminator" not in setting]
    config = load_config(None, [*judged, f"translator.type={method}"])
    trained = run_pipeline(config, tmp_path / "run", until="train")
    assert load_weights(trained.weights).translator.channels_of("a") == 2


def test_target_takes_what_data_says_but_for_its_channels():
    config = load_config(None, [*TINY, "data.window_hu=[-100, 300]"])
    assert config.data.modalities == ("MR", "CT") and config.target.modalities == ("CT",)
    assert config.target.sequence == "contrast" and config.target.window_hu == (-100, 300)
    back = load_config(None, [*TINY[:2], "data.sequence=contrast", "target.sequences=[mr,noncontrast]"])
    assert (back.data.channels, back.target.channels) == (1, 2) and back.target.sequence is None
    seen = load_config(None, [*TINY, "data.window={mr: [0, 100]}"])
    assert seen.data.window == {"mr": (0, 100)} and seen.target.window is None
    assert back.domain_names == ("contrast", "mr+noncontrast")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["data.slices=3"], "found several sequences"),
        (["evaluation.task=segmentation"], r"found 2 sequence\(s\) in data and 1 in target"),
        (["pairing.tumor_share=0.5"], "pairing.tumor_share: found 2 sequence"),
    ],
)
def test_what_does_not_go_together_with_several_sequences_is_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        load_config(None, [*TINY, *settings])


def test_audits_go_back_from_all_sequences_to_the_first(run):
    config = load_config(run.config, [])
    audited, audits = task_of(config).audits(run)
    finding, picture = audits["steganography"](audited)
    assert finding.value is not None and picture is not None
