"""Histology features of CLAM, TRIDENT and STAMP, read as they are; what cannot be told is refused by name."""

from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from aggregate.cohort.matching import BagSource
from aggregate.cohort.patients import Patients
from aggregate.cohort.slide_bags import slide_bag, slide_headers
from aggregate.cohort.slide_files import read_slide
from aggregate.cohort.slide_table import read_slide_table
from aggregate.cohort.study_cohort import load_study
from aggregate.planning.plan import load_aggregate_config
from pipeline.bags import HISTOLOGY
from pipeline.errors import BagError, ConfigError, LeakError

TILES = np.arange(12, dtype=np.float32).reshape(4, 3)
PLACES = np.array([[0, 0], [224, 0], [0, 224], [224, 224]])


def write(path: Path, attributes=None, **datasets) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        for name, values in datasets.items():
            file.create_dataset(name, data=values)
        file.attrs.update(attributes or {})
    return path


@pytest.fixture
def clam(tmp_path) -> Path:
    return write(tmp_path / "p1.h5", features=TILES, coords=PLACES)


def test_a_file_of_clam_has_its_features_and_an_unknown_encoder(clam):
    slide = read_slide(clam, "clam")
    assert np.array_equal(slide.features, TILES)
    assert (slide.encoder, slide.precision) == ("unknown", "float32")


def test_a_tensor_of_clam_is_read_like_its_h5(tmp_path, clam):
    torch.save(torch.from_numpy(TILES), tmp_path / "p1.pt")
    assert np.array_equal(read_slide(tmp_path / "p1.pt", "clam").features, read_slide(clam, "clam").features)


def test_a_file_of_trident_in_half_precision_becomes_float32_and_names_its_encoder(tmp_path):
    path = write(tmp_path / "p1.h5", features=TILES.astype(np.float16), coords=PLACES)
    with h5py.File(path, "a") as file:
        file["features"].attrs["encoder"] = "uni_v1"
        file["coords"].attrs.update({"patch_size": 256, "target_magnification": 20, "level0_width": 90000})
    slide = read_slide(path, "trident")
    assert slide.features.dtype == np.float32
    assert np.array_equal(slide.features, TILES)
    assert (slide.encoder, slide.precision) == ("uni_v1", "float16")
    assert slide.settings == {"patch_size": 256, "target_magnification": 20}


def test_a_file_of_stamp_says_what_its_tiles_are(tmp_path):
    said = {
        "extractor": "ctranspath",
        "unit": "um",
        "tile_size_um": 256.0,
        "tile_size_px": 224,
        "feat_type": "tile",
    }
    for name in ("feats", "patch_embeddings"):
        slide = read_slide(
            write(tmp_path / f"{name}.h5", said, **{name: TILES}, coords=PLACES * 1.1), "stamp"
        )
        assert np.array_equal(slide.features, TILES)
        assert slide.encoder == "ctranspath"
        assert slide.settings["tile_size_um"] == 256


@pytest.mark.parametrize(
    ("said", "in_recipe"),
    [
        ({"tile_size_px": np.array([256, 256])}, "[256 256]"),
        ({"tile_size_px": "unknown"}, "unknown"),
        ({"tile_size_px": np.nan}, "nan"),
        ({"tile_size_px": h5py.Empty("f")}, "Empty(dtype=dtype('<f4'))"),
    ],
    ids=["a pair", "a word", "no number", "empty"],
)
def test_a_size_of_tiles_that_is_no_number_is_kept_as_told_and_unknown_in_the_header(
    tmp_path, said, in_recipe
):
    path = write(tmp_path / "p1.h5", said, feats=TILES, coords=PLACES)
    with h5py.File(path, "a") as file:
        file["feats"].attrs.update(said)  # the same twice is no contradiction
    header = slide_headers({"p1": (path,)}, "stamp")["p1"]
    assert header.tile_size_px == 0
    assert header.recipe.preprocessing["tile_size_px"] == in_recipe


def test_the_vector_of_a_slide_encoder_is_one_row(tmp_path):
    path = write(tmp_path / "p1.h5", {"feat_type": "slide"}, feats=TILES[0])
    assert read_slide(path, "stamp").features.shape == (1, 3)


@dataclass(frozen=True)
class Refused:
    how: str
    datasets: dict
    message: str
    attributes: dict | None = None


REFUSED = {
    "not finite": Refused(
        "clam", {"features": np.array([[1.0, np.nan]])}, "expected finite features, found 1 of 2"
    ),
    "beyond float32": Refused("clam", {"features": np.array([[1e300]])}, "infinite or beyond float32"),
    "no tile": Refused("clam", {"features": np.empty((0, 3))}, "at least one tile, found shape"),
    "whole numbers": Refused("clam", {"features": np.ones((2, 2), int)}, "floating numbers, found int64"),
    "three axes": Refused("clam", {"features": np.ones((1, 2, 2))}, r"found shape \(1, 2, 2\)"),
    "fewer coords": Refused(
        "clam", {"features": TILES, "coords": PLACES[:3]}, "coords of the 4 tiles, found 3"
    ),
    "of stamp": Refused("clam", {"feats": TILES}, 'it looks like format = "stamp"'),
    "of clam": Refused("stamp", {"features": TILES}, 'it looks like format = "clam"'),
    "of nobody": Refused(
        "trident", {"x": TILES}, "expected a dataset features, as trident writes it, found x"
    ),
    "two features": Refused(
        "clam", {"features": TILES, "feats": TILES + 1}, "features and feats, which differ"
    ),
    "two encoders": Refused(
        "stamp", {"feats": TILES}, "says two things of encoder", {"extractor": "a", "encoder": "b"}
    ),
    "unknown level": Refused("stamp", {"feats": TILES}, "expected feat_type", {"feat_type": "cell"}),
    "pixels": Refused("stamp", {"feats": TILES, "coords": PLACES}, "expected coords in um", {"unit": "px"}),
    "a bag of ours": Refused(
        "clam", {"features": TILES}, "is a bag of this package", {"format": "phasemil-bag"}
    ),
}


@pytest.mark.parametrize("case", REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_told_is_refused(tmp_path, case):
    path = write(tmp_path / "p1.h5", case.attributes, **case.datasets)
    with pytest.raises(BagError, match=case.message) as error:
        read_slide(path, case.how)
    assert str(path) in str(error.value)


def test_equal_features_under_two_names_are_no_contradiction(tmp_path):
    path = write(tmp_path / "p1.h5", features=TILES)
    with h5py.File(path, "a") as file:
        file["feats"] = file["features"]
    assert np.array_equal(read_slide(path, "clam").features, TILES)


def test_a_link_to_another_file_is_never_followed(tmp_path, clam):
    with h5py.File(tmp_path / "p2.h5", "w") as file:
        file["features"] = h5py.ExternalLink(str(clam), "/features")
    with pytest.raises(BagError, match="a link that may lead to another file"):
        read_slide(tmp_path / "p2.h5", "clam")


def test_a_shape_that_promises_more_than_the_file_holds_is_refused_unread(tmp_path):
    with h5py.File(tmp_path / "p1.h5", "w") as file:
        file.create_dataset("features", shape=(10**9, 10**5), dtype="f4", chunks=(1, 100))
    with pytest.raises(BagError, match="the file is cut off"):
        read_slide(tmp_path / "p1.h5", "clam")


class Harmful:
    def __reduce__(self):
        return (print, ("run",))


@pytest.mark.parametrize(
    "content", [{"a": 1}, torch.eye(2).to_sparse(), Harmful()], ids=["a dictionary", "sparse", "code"]
)
def test_a_pt_file_that_is_no_tensor_is_refused_and_nothing_of_it_is_run(tmp_path, content, capsys):
    torch.save(content, tmp_path / "p1.pt")
    with pytest.raises(BagError, match="tensor") as refused:
        read_slide(tmp_path / "p1.pt", "clam")
    assert "weights_only" not in str(refused.value)  # how PyTorch advises to run the code
    assert "run" not in capsys.readouterr().out


def test_the_slides_of_a_patient_are_one_bag_and_stay_told_apart(tmp_path):
    paths = [write(tmp_path / f"{n}.h5", features=TILES[: n + 1] + n) for n in range(2)]
    bag = slide_bag("p1", paths, "clam")
    assert bag.header.modality == HISTOLOGY
    assert bag.header.phases_present == ("-",)
    assert bag.lesion.tolist() == [1, 2, 2]
    assert bag.slice_index.tolist() == [0, 1, 2]
    assert bag.features[1].tolist() == [1, 2, 3]


def test_the_content_of_a_slide_is_in_its_key(tmp_path):
    def key(values):
        write(tmp_path / "p1.h5", features=values)
        return slide_headers({"p1": (tmp_path / "p1.h5",)}, "clam")["p1"].content_key

    assert key(TILES) == key(TILES) != key(TILES + 1)


def test_slides_of_two_widths_or_encoders_are_not_mixed(tmp_path):
    files = {
        "p1": (write(tmp_path / "p1.h5", features=TILES),),
        "p2": (write(tmp_path / "p2.h5", features=TILES[:, :2]),),
    }
    with pytest.raises(BagError, match=r"p1.h5 and .*p2.h5 differ in width of the features: 3 against 2"):
        slide_headers(files, "clam")
    write(tmp_path / "p2.h5", {"encoder": "uni"}, features=TILES + 1)
    with pytest.raises(BagError, match="differ in encoder: unknown against uni"):
        slide_headers(files, "clam")


def test_one_slide_under_two_patients_is_a_leak(tmp_path):
    files = {name: (write(tmp_path / f"{name}.h5", features=TILES),) for name in ("p1", "p2")}
    with pytest.raises(
        LeakError, match=r"patient p2: p2\.h5 holds the same features as p1\.h5 of patient p1"
    ):
        slide_headers(files, "clam")


def test_without_a_table_a_file_is_named_after_its_patient_exactly(tmp_path):
    write(tmp_path / "p1.h5", features=TILES)
    assert list(read_slide_table(tmp_path, "clam", None, ["p1", "p2"]).files) == ["p1"]
    write(tmp_path / "p2_HE.h5", features=TILES)
    with pytest.raises(
        BagError, match=r"'p2_HE' is no patient_id .* nearest valid name: 'p2'.* name it as `slides`"
    ):
        read_slide_table(tmp_path, "clam", None, ["p1", "p2"])


@pytest.mark.parametrize("columns", [("patient_id", "file"), ("PATIENT", "FILENAME")])
def test_a_table_says_whose_the_slides_are(tmp_path, columns):
    for name in ("a", "b", "c"):
        write(tmp_path / "h5_files" / f"{name}.h5", features=TILES)
    table = tmp_path / "slides.csv"
    table.write_text(f"{columns[0]},{columns[1]}\np1,b.h5\np2,c\np1,a.h5\n")
    found = read_slide_table(tmp_path, "clam", table, [])
    assert {name: [path.name for path in paths] for name, paths in found.files.items()} == {
        "p1": ["b.h5", "a.h5"],
        "p2": ["c.h5"],
    }
    assert found.remarks == ()


TABLES = {
    "twice": ("patient_id,file\np1,a\np2,a.h5\n", "line 3: the slide 'a.h5' of patient p2 is named before"),
    "missing": ("patient_id,file\np1,aa\n", "line 2: no file 'aa' in .*; nearest valid name: 'a'"),
    "empty": ("patient_id,file\n,a\n", "line 2: expected patient_id and file, found an empty cell"),
    "columns": ("patient,slide\np1,a\n", "expected the columns patient_id and file .*found patient, slide"),
    "no row": ("patient_id,file\n", "expected a row for each slide, found none"),
}


@pytest.mark.parametrize(("text", "message"), TABLES.values(), ids=TABLES)
def test_a_mistaken_table_is_refused(tmp_path, text, message):
    write(tmp_path / "a.h5", features=TILES)
    (tmp_path / "slides.csv").write_text(text)
    with pytest.raises(BagError, match=message):
        read_slide_table(tmp_path, "clam", tmp_path / "slides.csv", ["p1"])


def test_a_file_that_nobody_names_is_told(tmp_path):
    for name in ("a", "b"):
        write(tmp_path / f"{name}.h5", features=TILES)
    (tmp_path / "slides.csv").write_text("patient_id,file\np1,a\n")
    (remark,) = read_slide_table(tmp_path, "clam", tmp_path / "slides.csv").remarks
    assert remark.startswith("1 files in")
    assert "b.h5" in remark


def test_a_folder_of_folders_says_where_files_are(tmp_path):
    write(tmp_path / "features_uni" / "a.h5", features=TILES)
    with pytest.raises(BagError, match=r"found none; folders with \.h5 files inside it: features_uni"):
        read_slide_table(tmp_path, "trident", None, [])


SETS = """
[aggregate.bags.biopsy]
folder = "slides"
format = "clam"
[aggregate.bags.ct]
folder = "out/bags"
[aggregate.model.m]
kind = "majority"
"""


@pytest.fixture
def with_biopsies(experiment_folder, tmp_path, rng):
    """The experiment of the suite, with a biopsy of 40 of its 60 patients; p000 has no scans."""
    toml = experiment_folder(SETS)
    for i in range(40):
        write(tmp_path / "slides" / f"p{i:03}.h5", features=rng.normal(size=(30, 5)).astype(np.float32))
    (tmp_path / "out" / "bags" / "p000.h5").unlink()
    return load_study(load_aggregate_config(toml, ()))


def test_patients_with_scans_or_biopsy_are_the_cohort(with_biopsies):
    patients = with_biopsies.patients
    assert len(patients) == 60
    assert patients[0].phases_present("ct") == ()
    assert patients[0].phases_present("biopsy") == ("-",)
    assert patients[59].bags["biopsy"] is None
    remarks = "\n".join(with_biopsies.matched.remarks)
    assert "40 slides of 40 patients in the set 'biopsy', several of 0" in remarks
    assert "20 of 60 patients, such as p040, have no bag in the set 'biopsy'" in remarks
    assert "do not say which encoder" in remarks


def test_the_scans_come_first_and_tiles_are_no_slices(with_biopsies):
    assert list(with_biopsies.patients.bag_sets) == ["ct", "biopsy"]
    sizes = with_biopsies.patients.bag_sizes()
    assert sizes[0] == 0
    assert 0 < sizes[1] < 30


def test_fewer_phases_leave_the_biopsy_whole(with_biopsies):
    shown = with_biopsies.patients.in_phases(["AP"])
    assert len(shown[1].bags["biopsy"]) == 30
    assert shown[1].phases_present("ct") == ("AP",)


def test_slides_without_a_format_of_histology_are_refused(experiment_folder):
    text = '[aggregate.bags.a]\nfolder = "x"\nslides = "s.csv"\n[aggregate.model.m]\nkind = "majority"\n'
    with pytest.raises(ConfigError, match='`slides` goes with format = "clam"'):
        load_aggregate_config(experiment_folder(text), ())


def test_a_notebook_reads_the_same(tmp_path, with_biopsies):
    sources = {"ct": tmp_path / "out" / "bags", "biopsy": BagSource(tmp_path / "slides", "clam")}
    patients = Patients.read(sources, cohort=tmp_path / "cohort.csv")
    assert patients.patient_ids == with_biopsies.patients.patient_ids


def test_slides_of_nobody_with_a_label_are_refused_with_one_of_the_names(tmp_path, with_biopsies):
    del with_biopsies  # its files are wanted
    (tmp_path / "slides.csv").write_text("patient_id,file\nstranger,p001.h5\n")
    source = BagSource(tmp_path / "slides", "clam", tmp_path / "slides.csv")
    with pytest.raises(BagError, match=r"such as stranger, belongs to .* label; write the patient_id"):
        Patients.read({"biopsy": source}, cohort=tmp_path / "cohort.csv")
