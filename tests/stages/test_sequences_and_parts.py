"""What a run prepares of several sequences, parts, organs and a healthy pool, and what it refuses of them."""

import json
import shutil

import nibabel
import numpy as np
import pytest

from medaug.data.cache import open_array
from medaug.data.prepared import Prepared, View
from medaug.data.records import prepared_cases
from medaug.data.writers import ScanRecord, write_layout
from medaug.errors import DataError, LeakageError
from medaug.phantoms import phantoms
from medaug.runs.folder import open_run
from medaug.stages.prepare import prepare
from medaug.volumes import Percentiles, Window

SHAPE, SPACING_MM = (24, 24, 6), (8.0, 8.0, 14.0)
TWO = ("data.sequences=[flair,t1]", "data.tumor={core: 1, rim: 2}", "split.train=4", "split.validation=0")
LIVER = ("data.modality=CT", "data.tumor_labels=[2]", "data.organ=[1]", "split.train=4", "split.validation=0")


def records_of(anatomy, count, seed, **images):
    drawn = phantoms(anatomy, count, seed=seed, shape=SHAPE, spacing_mm=SPACING_MM)
    for p in drawn:
        label = np.where(p.label > 0, 2, p.organs == 1).astype(np.uint8) if anatomy == "abdomen" else p.label
        held = {name: p.images[name] for name in images["sequences"]}
        yield ScanRecord(p.patient, held, label, p.affine)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """Seven heads (flair, t1; core and rim), six abdomens (liver 1, tumor 2), and three heads more."""
    root = tmp_path_factory.mktemp("drawn")
    write_layout(records_of("head", 7, 4, sequences=("flair", "t1")), root / "heads", "msd")
    write_layout(records_of("abdomen", 6, 3, sequences=("contrast",)), root / "livers", "msd")
    write_layout(records_of("head", 3, 77, sequences=("flair", "t1")), root / "pool", "msd")
    for path in sorted((root / "pool").glob("imagesTr/*")):  # other patients, whom nobody has labelled
        path.rename(path.with_name(path.name.replace("phantom", "volunteer")))
    shutil.rmtree(root / "pool" / "labelsTr")
    return root


@pytest.fixture
def folder(drawn, tmp_path):
    """Copies, to be spoilt."""
    shutil.copytree(drawn, tmp_path / "d")
    return tmp_path / "d"


@pytest.fixture
def prepared(tiny_config, tmp_path):
    """`prepared(root, *settings)`: the run, prepared in 2-D; no datalist and no split may be left where it fails."""

    def prepared(root, *settings):
        config = tiny_config(f"data.root={root}", *settings)
        run = open_run(tmp_path / "run", config)
        try:
            prepare(config, run)
        except Exception:
            assert not run.datalist.exists() and not run.split.exists()
            assert not list(run.root.rglob(".tmp-*"))
            raise
        return run

    return prepared


def edit(path, change):
    image = nibabel.load(path)
    nibabel.save(nibabel.Nifti1Image(change(np.asarray(image.dataobj).copy()), image.affine), path)


def labels_of(root):
    return sorted((root / "labelsTr").iterdir())


def test_a_label_value_of_no_part_is_refused_and_may_be_declared(folder, prepared):
    path = labels_of(folder / "heads")[3]
    edit(path, lambda label: np.where(np.arange(label.size).reshape(label.shape) == 5, 7, label).astype(np.uint8))
    with pytest.raises(
        DataError, match=rf"{path.name}: found label values \[7\]; expected only 0 and \[1, 2\].*data.tumor"
    ):
        prepared(folder / "heads", *TWO)
    run = prepared(folder / "heads", *TWO, "data.known_labels=[1,2,7]")
    entry = prepared_cases(run.datalist)[3]
    assert entry.label_values == (0, 1, 2, 7) and len(entry.class_voxels) == 2


def test_a_part_that_never_occurs_is_named(folder, prepared):
    with pytest.raises(DataError, match=r"no voxel of the part necrosis \(one of the values 5\) .*leave the part out"):
        prepared(folder / "heads", *TWO, "data.tumor={core: 1, rim: 2, necrosis: 5}")


def test_one_hot_labels_are_refused_where_a_class_map_is_expected(folder, prepared):
    path = labels_of(folder / "heads")[0]
    edit(path, lambda label: np.stack([label == 1, label == 2], axis=-1).astype(np.uint8))
    with pytest.raises(DataError, match=rf"{path.name}: found a label of 2 channels .*one-hot.*expected a class map"):
        prepared(folder / "heads", *TWO)


def test_a_label_without_the_organ_is_refused(folder, prepared):
    path = labels_of(folder / "livers")[2]
    edit(path, lambda label: np.where(label == 1, 0, label).astype(np.uint8))
    with pytest.raises(
        DataError, match=rf"{path.name}: found none of the organ's values 1; expected an organ in every"
    ):
        prepared(folder / "livers", *LIVER)


def test_an_organ_without_room_for_a_lesion_is_told_and_refused_where_all_are_such(folder, prepared, caplog):
    wide = ("crop.min_diameter_mm=1000",)
    with pytest.raises(DataError, match=r"organs of at most .* mm across .* room for a lesion of 1000 \(crop.min"):
        prepared(folder / "livers", *LIVER, *wide)
    shutil.rmtree(folder.parent / "run")

    def specks(label):
        label[label == 2] = 0
        label[label == 1] = 0
        label[12, 12, 3] = 1
        return label

    for path in labels_of(folder / "livers")[1:3]:
        edit(path, specks)
    prepared(folder / "livers", *LIVER, "split.train=5", "crop.min_diameter_mm=10")
    assert "has no room for a lesion of 10 mm, and none is inserted there: " in caplog.text


def test_the_organ_is_its_values_and_the_tumor_that_lies_in_it(folder, prepared):
    run = prepared(folder / "livers", *LIVER)
    for entry in prepared_cases(run.datalist):
        stored = np.asarray(nibabel.load(entry.label).dataobj)
        view = View(entry, None, 0)
        assert view.organ(run.prepared).sum() == (stored > 0).sum()
        assert (view.classes(run.prepared) > 0).sum() == (stored == 2).sum()


def test_unlabelled_scans_in_a_healthy_pool_train_beside_the_labelled_and_are_tested_on_nowhere(folder, prepared):
    run = prepared(folder / "heads", *TWO, f"data.healthy={folder / 'pool'}")
    split, data = run.read_split(), Prepared(run.datalist)
    assert split.healthy == ("volunteer-000", "volunteer-001", "volunteer-002") and len(split.test) == 3
    pool = data.of(split.healthy)
    assert len(pool) == 3 and not any(case.labelled for case in pool)
    assert all(open_array(run.prepared, case.arrays["image"]).shape == (2, *SHAPE) for case in pool)
    assert all(case.case.startswith("healthy-") and case.healthy and len(case.windows) == 2 for case in pool)
    views = data.training_views(split, 2)
    assert {view.patient for view in views} == {*split.train, *split.healthy}
    assert not any(view.tumor_voxels for view in views if view.patient in split.healthy)
    again = prepared(folder / "heads", *TWO, f"data.healthy={folder / 'pool'}")
    assert again.read_split() == split


@pytest.mark.parametrize(("by", "sequence"), [("name", "flair"), ("content", "flair"), ("content", "t1")])
def test_a_labelled_patient_in_the_healthy_pool_is_refused_by_name_and_by_the_content_of_any_channel(
    folder, prepared, by, sequence
):
    channel = ("flair", "t1").index(sequence)
    source = folder / "heads" / "imagesTr" / f"phantom-005_000{channel}.nii.gz"
    name = "phantom-005" if by == "name" else "volunteer-001"
    shutil.copy(source, folder / "pool" / "imagesTr" / f"{name}_000{channel}.nii.gz")
    if by == "name":
        other = f"{name}_000{1 - channel}.nii.gz"
        shutil.copy(
            folder / "pool" / "imagesTr" / f"volunteer-001_000{1 - channel}.nii.gz",
            folder / "pool" / "imagesTr" / other,
        )
    with pytest.raises(LeakageError, match="phantom-005") as refused:
        prepared(folder / "heads", *TWO, f"data.healthy={folder / 'pool'}")
    assert "phantom-005" in refused.value.patients
    assert ("other patients in the healthy pool" if by == "name" else "healthy: ") in str(refused.value)


def test_a_copy_of_an_unused_patient_in_the_healthy_pool_is_refused_too(folder, prepared):
    for channel in (0, 1):
        source = folder / "heads" / "imagesTr" / f"phantom-00{{}}_000{channel}.nii.gz"
        for number in range(3):
            target = folder / "pool" / "imagesTr" / f"volunteer-00{number}_000{channel}.nii.gz"
            shutil.copy(str(source).format(number), target)
    with pytest.raises(LeakageError, match="unused: .* and volunteer|volunteer.* and phantom.*unused: "):
        prepared(folder / "heads", *TWO, "split.labelled=1", f"data.healthy={folder / 'pool'}")


def test_a_labelled_tumor_in_the_healthy_pool_is_refused(folder, prepared):
    (folder / "pool" / "labelsTr").mkdir()
    shutil.copy(labels_of(folder / "heads")[0], folder / "pool" / "labelsTr" / "volunteer-000.nii.gz")
    with pytest.raises(DataError, match="something labelled in the healthy pool .*Move the scan"):
        prepared(folder / "heads", *TWO, f"data.healthy={folder / 'pool'}")


def test_a_healthy_pool_without_the_organ_that_the_labels_say_is_refused(folder, prepared):
    shutil.move(folder / "livers" / "labelsTr" / "phantom-000.nii.gz", folder / "moved.nii.gz")
    (folder / "scan" / "imagesTr").mkdir(parents=True)
    shutil.move(
        folder / "livers" / "imagesTr" / "phantom-000_0000.nii.gz", folder / "scan" / "imagesTr" / "v_0000.nii.gz"
    )
    shutil.copy(folder / "livers" / "dataset.json", folder / "scan" / "dataset.json")
    with pytest.raises(DataError, match="found no label, in the healthy pool .*because data.organ says"):
        prepared(folder / "livers", *LIVER, f"data.healthy={folder / 'scan'}")


def test_patients_of_the_split_are_healthy_by_their_slices_and_refused_where_every_volume_has_a_tumor(folder, prepared):
    run = prepared(folder / "heads", *TWO, "split.healthy=1")
    split = run.read_split()
    assert len(split.healthy) == 1 and len(split.test) == 2
    views = Prepared(run.datalist).training_views(split, 2)
    assert any(view.patient in split.healthy for view in views)
    shutil.rmtree(run.root)
    with pytest.raises(DataError, match="a tumor in every scan of the 1 patients of split.healthy.*spatial_dims is 3"):
        prepared(folder / "heads", *TWO, "split.healthy=1", "data.spatial_dims=3", "crop.size=[16,16,4]")


def test_each_sequence_has_a_window_in_its_own_unit(folder, prepared):
    rng = np.random.RandomState(0)
    for path in sorted((folder / "heads" / "imagesTr").iterdir()):
        if path.name.endswith("_0000.nii.gz"):
            edit(path, lambda image: image.astype(np.float32) - 1000)
        else:
            edit(path, lambda image: rng.gamma(0.5, 2, size=image.shape).astype(np.float32))
    described = json.loads((folder / "heads" / "dataset.json").read_text())
    described["channel_names"] = {"0": "CT", "1": "PET"}
    (folder / "heads" / "dataset.json").write_text(json.dumps(described))
    own = ("data.sequences=[CT,PET]", "data.window_hu=[-900,100]", "data.window={PET: [0, 20]}")
    run = prepared(folder / "heads", *TWO, *own)
    entry = prepared_cases(run.datalist)[0]
    assert entry.windows == (Window(-900, 100, "HU"), Window(0, 20, "au"))
    assert View(entry, None, 0).normalized(run.prepared).min() == -1
    shutil.rmtree(run.root)
    percentiles = prepared(folder / "heads", *TWO, *own[:2])
    values = np.asarray(open_array(percentiles.prepared, entry.arrays["image"])[1])
    assert prepared_cases(percentiles.datalist)[0].windows[1] == Percentiles().window_of(values)
