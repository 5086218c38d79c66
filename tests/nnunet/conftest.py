"""A data set of nnU-Net's, planned and preprocessed in a second: 6 phantoms, two channels, a tumor of two parts."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import medaug
from medaug.data.writers import write_phantoms

NAME = "Dataset501_Heads"
FOLDERS = ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")
SMALL = (
    "crop.size=[16,16]", "training.batch_size=2", "training.workers=0", "translator.width=4", "translator.depth=2",
    "translator.discriminator_width=4", "translator.discriminator_layers=1",
)  # fmt: skip
CONFIGURATIONS = {"2d": ([32, 32], [6.0, 6.0]), "3d_fullres": ([8, 32, 32], [10.0, 6.0, 6.0])}


@pytest.fixture(scope="session")
def small() -> tuple[str, ...]:
    """`--set` values of a GAN that trains in a second."""
    return SMALL


@pytest.fixture(scope="session")
def heads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that holds nnU-Net's three; not to be changed."""
    base = tmp_path_factory.mktemp("nnunet")
    raw, preprocessed = base / "nnUNet_raw" / NAME, base / "nnUNet_preprocessed" / NAME
    options = {"anatomy": "head", "patients": 6, "seed": 0, "shape": (32, 32, 8), "spacing_mm": (6.0, 6.0, 10.0)}
    write_phantoms(raw, "msd", **options)
    about = json.loads((raw / "dataset.json").read_text())
    (raw / "dataset.json").write_text(json.dumps(about | {"labels": {"background": 0, "edema": 1, "core": 2}}))
    preprocess(raw, preprocessed, plans_for(about))
    (base / "nnUNet_results").mkdir()
    return base


@pytest.fixture(scope="session")
def abdomens(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same of five abdomens: one channel, a CT in HU, of which the label has the liver (1) and tumors in it (2)."""
    base = tmp_path_factory.mktemp("nnunet-ct")
    raw, preprocessed = base / "nnUNet_raw" / NAME, base / "nnUNet_preprocessed" / NAME
    options = {"patients": 5, "seed": 0, "shape": (48, 48, 10), "spacing_mm": (8.0, 8.0, 16.0), "label": "organ"}
    write_phantoms(raw, "msd", anatomy="abdomen", **options)
    for other in (*raw.glob("imagesTr/*_0001.nii.gz"), *raw.glob("imagesTr/*_0002.nii.gz")):
        other.unlink()
    about = json.loads((raw / "dataset.json").read_text()) | {"channel_names": {"0": "CT"}}
    (raw / "dataset.json").write_text(json.dumps(about))
    figures = {"percentile_00_5": -60.0, "percentile_99_5": 220.0, "mean": 90.0, "std": 40.0}
    plans = plans_for(about, "CTNormalization", figures)
    for name, spacing in (("2d", [8.0, 8.0]), ("3d_fullres", [16.0, 8.0, 8.0])):
        plans["configurations"][name]["spacing"] = spacing
    preprocess(raw, preprocessed, plans)
    (base / "nnUNet_results").mkdir()
    return base


@pytest.fixture(scope="session")
def gan(heads: Path) -> Path:
    """The weights of fold 0, where `nnUNetTrainerMedaug` finds them."""
    with environment(heads):
        return medaug.train_cycle(nnunet="501", fold="0", max_steps=3, set_=list(SMALL))


@pytest.fixture
def folders(heads: Path) -> Iterator[Path]:
    """nnU-Net's variables name the data set's folders."""
    with environment(heads):
        yield heads


class environment:  # noqa: N801
    """nnU-Net's variables, and one process for everything, while it lasts."""

    def __init__(self, base: Path, **more: str):
        self.values = {name: str(base / name) for name in FOLDERS} | {"nnUNet_n_proc_DA": "0", "nnUNet_compile": "f"}
        self.values |= more

    def __enter__(self) -> None:
        self.before = {name: os.environ.get(name) for name in self.values}
        os.environ.update(self.values)

    def __exit__(self, *error: object) -> None:
        for name, value in self.before.items():
            os.environ.pop(name) if value is None else os.environ.__setitem__(name, value)


def plans_for(about: dict, scheme: str = "ZScoreNormalization", of_foreground: dict | None = None) -> dict:
    """Plans as nnU-Net writes them, with a network of three levels of 4 features."""
    channels = len(about["channel_names"])
    figures = {str(channel): of_foreground or {} for channel in range(channels)}
    known = {name: _configuration(name, [scheme] * channels, *sizes) for name, sizes in CONFIGURATIONS.items()}
    known["3d_lowres"] = known["3d_fullres"] | {"next_stage": "3d_cascade_fullres"}
    known["3d_cascade_fullres"] = {"inherits_from": "3d_fullres", "previous_stage": "3d_lowres"}
    return {
        "dataset_name": NAME, "plans_name": "nnUNetPlans", "image_reader_writer": "SimpleITKIO",
        "original_median_spacing_after_transp": [10.0, 6.0, 6.0], "original_median_shape_after_transp": [8, 32, 32],
        "transpose_forward": [0, 1, 2], "transpose_backward": [0, 1, 2], "label_manager": "LabelManager",
        "experiment_planner_used": "ExperimentPlanner", "foreground_intensity_properties_per_channel": figures,
        "configurations": known,
    }  # fmt: skip


def _configuration(name: str, schemes: list[str], patch: list[int], spacing: list[float]) -> dict:
    dims, resampling = len(patch), "resample_data_or_seg_to_shape"
    return {
        "data_identifier": f"nnUNetPlans_{name}", "preprocessor_name": "DefaultPreprocessor", "batch_size": 2,
        "patch_size": patch, "median_image_size_in_voxels": [8, 32, 32][-dims:], "spacing": spacing, "batch_dice": True,
        "normalization_schemes": schemes, "use_mask_for_norm": [False] * len(schemes),
        **{f"resampling_fn_{what}": resampling for what in ("data", "seg", "probabilities")},
        "resampling_fn_data_kwargs": {"is_seg": False, "order": 3, "order_z": 0, "force_separate_z": None},
        "resampling_fn_seg_kwargs": {"is_seg": True, "order": 1, "order_z": 0, "force_separate_z": None},
        "resampling_fn_probabilities_kwargs": {"is_seg": False, "order": 1, "order_z": 0, "force_separate_z": None},
        "architecture": {
            "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
            "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
            "arch_kwargs": {
                "n_stages": 3, "features_per_stage": [4, 8, 8], "n_conv_per_stage": [1] * 3,
                "n_conv_per_stage_decoder": [1] * 2, "kernel_sizes": [[3] * dims] * 3,
                "strides": [[1] * dims, [2] * dims, [2] * dims], "conv_op": f"torch.nn.modules.conv.Conv{dims}d",
                "conv_bias": True, "norm_op": f"torch.nn.modules.instancenorm.InstanceNorm{dims}d",
                "norm_op_kwargs": {"eps": 1e-05, "affine": True}, "dropout_op": None, "dropout_op_kwargs": None,
                "nonlin": "torch.nn.LeakyReLU", "nonlin_kwargs": {"inplace": True},
            },
        },
    }  # fmt: skip


def preprocess(raw: Path, folder: Path, plans: dict) -> None:
    """Every case of a raw data set by nnU-Net's own preprocessor, in this process."""
    from medaug.nnunet.library import nnunet

    nnunet()
    from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    about = json.loads((raw / "dataset.json").read_text())
    for name, values in (("nnUNetPlans", plans), ("dataset", about), ("dataset_fingerprint", {})):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.json").write_text(json.dumps(values))
    manager, preprocessor = PlansManager(plans), DefaultPreprocessor(verbose=False)
    (folder / "gt_segmentations").mkdir()
    for label in sorted((raw / "labelsTr").iterdir()):
        case = label.name.removesuffix(".nii.gz")
        (folder / "gt_segmentations" / label.name).write_bytes(label.read_bytes())
        images = [
            str(raw / "imagesTr" / f"{case}_{channel:04d}.nii.gz") for channel in range(len(about["channel_names"]))
        ]
        for configuration in CONFIGURATIONS:
            known = manager.get_configuration(configuration)
            out = folder / known.data_identifier / case
            out.parent.mkdir(exist_ok=True)
            preprocessor.run_case_save(str(out), images, str(label), manager, known, about)


@pytest.fixture
def trainer(folders: Path, gan: Path) -> Callable[..., object]:
    """`trainer("nnUNetTrainerMedaug", "2d")`: as nnU-Net makes one, of one iteration on the CPU."""
    return make_trainer


def make_trainer(name: str, configuration: str = "2d", fold: int | str = 0, **dataset: object) -> object:
    """A trainer of the data set that nnU-Net's variables name; `dataset` are other entries of its dataset.json."""
    import torch

    import medaug.nnunet.trainer as trainers

    base = Path(os.environ[FOLDERS[1]]) / NAME
    plans = json.loads((base / "nnUNetPlans.json").read_text()) | {"continue_training": False}
    about = json.loads((base / "dataset.json").read_text()) | dataset
    made = getattr(trainers, name)(plans, configuration, fold, about, torch.device("cpu"))
    made.num_epochs = made.num_iterations_per_epoch = made.num_val_iterations_per_epoch = 1
    return made
