"""A MONAI bundle: MONAI's own tools run it, and get our image bit for bit."""

import json

import numpy as np
import pytest
from monai import bundle as monai_bundle
from monai.bundle import ConfigParser
from monai.transforms import Compose, EnsureChannelFirstd, LoadImaged
from typer.testing import CliRunner

from medaug.cli import app
from medaug.data.atomic import read_json
from medaug.data.files import read_label, read_scan, write_channels, write_scan
from medaug.data.prepared import View
from medaug.data.records import prepared_cases
from medaug.errors import LeakageError, RunError
from medaug.exports.bundle import export_bundle
from medaug.models.weights import load_weights
from medaug.splits import Split, refuse_leakage
from medaug.transforms import RandInsertTumord, SynthesizeCTd

from ..stored import array_of

REQUIRED = (
    "version",
    "changelog",
    "monai_version",
    "pytorch_version",
    "numpy_version",
    "required_packages_version",
    "name",
    "task",
    "description",
    "authors",
    "copyright",
    "network_data_format",
    "schema",
)


@pytest.fixture(scope="module")
def scans(tiny_run, tmp_path_factory):
    """A folder with two scans, as a user of the bundle has it."""
    folder = tmp_path_factory.mktemp("scans")
    for entry in read_json(tiny_run.datalist)["cases"][:2]:
        image = array_of(tiny_run.prepared, entry, "image")
        write_scan(folder / f"{entry['case']}.nii.gz", image[None], np.asarray(entry["affine"]))
    return folder


@pytest.fixture(scope="module")
def bundles(weights_folder, ct_weights, tmp_path_factory):
    """{"insert", "ct": (bundle, the weights it was made of)}."""
    made = {}
    for name, weights in (("insert", weights_folder), ("ct", ct_weights)):
        made[name] = tmp_path_factory.mktemp(name) / "bundle", weights
        result = CliRunner().invoke(app, ["export-bundle", str(weights), str(made[name][0])])
        assert result.exit_code == 0, result.output
    return made


def run_in_monai(bundle, scans, out):
    monai_bundle.run(
        config_file=str(bundle / "configs" / "inference.json"),
        meta_file=str(bundle / "configs" / "metadata.json"),
        bundle_root=str(bundle),
        dataset_dir=str(scans),
        output_dir=str(out),
    )


def test_monai_runs_the_bundle_and_writes_the_image_that_our_transforms_give(bundles, scans, tmp_path):
    bundle, weights = bundles["insert"]
    run_in_monai(bundle, scans, tmp_path)
    chain = Compose(
        [LoadImaged("image"), EnsureChannelFirstd("image"), RandInsertTumord("image", weights=str(weights), prob=1.0)]
    ).set_random_state(seed=0)
    for scan in sorted(scans.iterdir()):
        ours, before = chain({"image": str(scan)}), read_scan(scan)
        name = scan.name.removesuffix(".nii.gz")
        image = read_scan(tmp_path / f"{name}_inserted.nii.gz")
        label = read_label(tmp_path / f"{name}_inserted_label.nii.gz")
        np.testing.assert_array_equal(image.numpy(), ours["image"].numpy())
        np.testing.assert_array_equal(label.numpy(), ours["label"].numpy())
        np.testing.assert_array_equal(image.affine, before.affine)
        assert label.any() and (image.numpy() != before.numpy()).any()


def test_weights_of_several_sequences_and_parts_take_4d_files(multi_run, tmp_path):
    bundle = export_bundle(multi_run.weights, tmp_path / "bundle")
    case = prepared_cases(multi_run.datalist)[0]
    image = View(case, None, 0).tensor(multi_run.prepared)
    write_channels(tmp_path / "scans" / "scan.nii.gz", image)
    run_in_monai(bundle, tmp_path / "scans", tmp_path / "out")
    chain = RandInsertTumord("image", weights=multi_run.weights, prob=1.0)
    ours = Compose([chain]).set_random_state(seed=0)({"image": image})
    for channel in range(2):
        found = read_scan(tmp_path / "out" / "scan_inserted.nii.gz", channel=channel)
        np.testing.assert_array_equal(found.numpy()[0], ours["image"].numpy()[channel])
    label = read_label(tmp_path / "out" / "scan_inserted_label.nii.gz")
    np.testing.assert_array_equal(label.numpy(), ours["label"].numpy())
    metadata = read_json(bundle / "configs" / "metadata.json")
    named = metadata["network_data_format"]["inputs"]["image"]["channel_def"]
    assert list(named.values())[:4] == ["image flair", "image t1", "mask core", "mask rim"]
    assert metadata["label_classes"] == "single channel, 1 is core, 2 is rim, 0 is everything else"
    assert "2 channels (image flair, image t1)" in metadata["pred_classes"]


def test_weights_to_ct_become_a_bundle_that_writes_hounsfield_units(bundles, scans, tmp_path):
    bundle, weights = bundles["ct"]
    run_in_monai(bundle, scans, tmp_path)
    for scan in scans.iterdir():
        image = read_scan(tmp_path / f"{scan.name.removesuffix('.nii.gz')}_ct.nii.gz")
        ours = SynthesizeCTd("image", weights=str(weights))({"image": read_scan(scan)})["image"]
        assert image.meta["dtype"] == "int16"
        np.testing.assert_array_equal(image.numpy(), ours.numpy())


@pytest.mark.parametrize("name", ["insert", "ct"])
def test_monai_verifies_the_networks_input_and_output(bundles, name):
    bundle, _ = bundles[name]
    files = {kind: str(bundle / "configs" / f"{kind}.json") for kind in ("metadata", "inference")}
    arguments = {
        "net_id": "network_def",
        "meta_file": files["metadata"],
        "config_file": files["inference"],
        "device": "cpu",
        "n": 4,
        "bundle_root": str(bundle),
    }
    monai_bundle.verify_net_in_out(**arguments)
    with pytest.raises(ValueError, match="output channel number"):
        monai_bundle.verify_net_in_out(**arguments, **{"_meta_#network_data_format#outputs#pred#num_channels": 2})


def test_the_networks_of_a_bundle_are_those_of_the_weights(bundles):
    bundle, weights = bundles["insert"]
    assert load_weights(bundle / "models").facts.sha256 == load_weights(weights).facts.sha256


def test_the_inference_is_made_of_monais_and_our_transforms_alone(bundles):
    for bundle, _ in bundles.values():
        parser = ConfigParser()
        parser.read_config(bundle / "configs" / "inference.json")
        text = json.dumps(parser.get())
        targets = {part.split('"')[0] for part in text.split('"_target_": "')[1:]}
        ours = {target for target in targets if "." in target}
        assert targets - ours <= {"Compose", "Dataset", "LoadImaged", "EnsureChannelFirstd", "SaveImaged"}
        assert all(t.startswith(("medaug.transforms.", "medaug.models.network.")) for t in ours)


def test_the_metadata_has_what_the_specification_requires(bundles):
    for bundle, _ in bundles.values():
        metadata = read_json(bundle / "configs" / "metadata.json")
        assert all(metadata[key] for key in REQUIRED)
        assert "not for diagnosis" in metadata["intended_use"].lower()
        for kind in (
            metadata["network_data_format"]["inputs"]["image"],
            metadata["network_data_format"]["outputs"]["pred"],
        ):
            assert kind["num_channels"] == len(kind["channel_def"]) and kind["dtype"] == "float32"
        assert (bundle / "LICENSE").read_text() and "Not for diagnosis" in (bundle / "docs" / "README.md").read_text()


def test_no_patient_is_named_in_a_bundle_and_a_leak_is_still_refused(bundles, weights_folder):
    for bundle, weights in bundles.values():
        patients = read_json(weights / "model.json")["training_patients"]
        for path in bundle.rglob("*"):
            if path.is_file():
                content = path.read_bytes()
                assert not any(patient.encode() in content for patient in patients), path
        shared = load_weights(bundle / "models").facts.training_patients
        refuse_leakage(shared, Split(tuple(patients), (), ("somebody-else",)), "weights were")
        with pytest.raises(LeakageError, match=patients[0]) as refused:
            refuse_leakage(shared, Split((), (), (patients[0], "somebody-else")), "weights were")
        assert refused.value.patients == [patients[0]]


def test_a_folder_with_something_in_it_is_not_written_to(bundles, weights_folder):
    bundle, _ = bundles["insert"]
    with pytest.raises(RunError, match="exists already"):
        export_bundle(weights_folder, bundle)
