"""Write the conformance cases of the bag format: files a reader must read, and files it must refuse.

    PYTHONPATH=. .venv/bin/python tests/data/bags/conformance/make_cases.py

Each case is one file here and one entry of cases.json: null where the file is valid, else what the error of this
project's reader says of it. A hostile case is a valid bag with one fault.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path

import h5py
import numpy as np

FOLDER = Path(__file__).resolve().parent
TEXT = h5py.string_dtype()
OTHER = "valid-ct.h5"
"""The file that links lead to."""
N, D = 4, 3

Change = Callable[[h5py.File], None]


def write_ct(file: h5py.File) -> None:
    """Write a valid bag of CT by the specification, without this project's writer."""
    phase, slice_index = np.array([0, 0, 1, 1]), np.array([4, 5, 2, 3])
    file["features"] = np.arange(N * D, dtype="f4").reshape(N, D) / 8
    file["feats"] = file["features"]
    file["measures"] = np.array([[80.5], [np.nan], [62.0], [61.5]], dtype="f4")
    file["coords"] = np.stack([phase, slice_index], axis=1).astype("i8")
    file["phase"] = phase.astype("i1")
    file["slice_index"] = slice_index.astype("i4")
    file["z_mm"] = np.array([10.0, 12.5, 5.0, 7.5], dtype="f4")
    file["extent_mm"] = np.full(N, 2.5, dtype="f4")
    file["tumour_area_mm2"] = np.array([100.0, 90.0, 80.0, 70.0], dtype="f4")
    file["lesion"] = np.ones(N, dtype="i2")
    file["scale"] = np.zeros(N, dtype="i1")
    source = {
        "file": "scan.nii.gz", "image_sha256": "1" * 64, "mask_sha256": "2" * 64, "mask_source": "drawn",
        "spacing_mm": [0.7, 0.7, 2.5], "n_slices": 80,
    }  # fmt: skip
    blocks = [{"name": "whole", "start": 0, "stop": 2}, {"name": "rim", "start": 2, "stop": 3}]
    file.attrs.update({
        "format": "phasemil-bag", "format_version": 2, "patient_id": Path(file.filename).stem, "modality": "ct",
        "phase_names": texts("AP", "DP", "PVP"), "phases_present": texts("AP", "DP"),
        "phases_missing": '{"PVP":"no scan in the cohort table"}', "scale_names": texts("tight"),
        "sources": json.dumps({"AP": source, "DP": source}),
        "feature_blocks": json.dumps(blocks), "reference_hu": '{"AP":65.5}',
        "measure_names": texts("lesion_median"), "measure_units": texts("HU"),
        "encoder": "resnet18", "layer": "penultimate", "weights_name": "IMAGENET1K_V1", "weights_sha256": "3" * 64,
        "preprocessing": "{}", "preprocessing_sha256": "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a",
        "precision": "float32", "software": "{}", "content_key": "4" * 64, "created_utc": "2026-11-26T00:00:00+00:00",
        "feat_type": "tile", "extractor": "resnet18", "unit": "um", "tile_size_um": 120000.0, "tile_size_px": 224,
        "complete": True,
    })  # fmt: skip


def texts(*values: str) -> np.ndarray:
    return np.array(values, dtype=TEXT)


def attribute(name: str, value: object) -> Change:
    return lambda file: file.attrs.__setitem__(name, value)


def without_attribute(name: str) -> Change:
    return lambda file: file.attrs.__delitem__(name)


def without(name: str) -> Change:
    return lambda file: file.__delitem__(name)


def dataset(name: str, make: Callable[[np.ndarray], np.ndarray]) -> Change:
    """Put another array in the place of a dataset."""

    def change(file: h5py.File) -> None:
        values = make(file[name][()])
        put(file, name, lambda: file.create_dataset(name, data=values))

    return change


def put(file: h5py.File, name: str, create: Callable[[], object]) -> None:
    """Put what `create` makes in the place of a dataset; /feats goes with /features."""
    del file[name]
    if name == "features":
        del file["feats"]
    create()
    if name == "features":
        file["feats"] = file["features"]


def one(row: int, value: float) -> Callable[[np.ndarray], np.ndarray]:
    """Return what sets the first number of one instance."""

    def set_it(values: np.ndarray) -> np.ndarray:
        values.reshape(len(values), -1)[row, 0] = value
        return values

    return set_it


def linked(name: str, link: object) -> Change:
    def change(file: h5py.File) -> None:
        del file[name]
        file[name] = link

    return change


def soft_link_through_a_group(file: h5py.File) -> None:
    file["elsewhere"] = h5py.ExternalLink(OTHER, "/")
    linked("features", h5py.SoftLink("/elsewhere/features"))(file)


def virtual(file: h5py.File) -> None:
    layout = h5py.VirtualLayout(shape=(N, D), dtype="f4")
    layout[:] = h5py.VirtualSource(OTHER, "features", shape=(N, D))
    put(file, "features", lambda: file.create_virtual_dataset("features", layout))


def external_storage(file: h5py.File) -> None:
    segments = [(OTHER, 0, N * 4)]
    put(file, "z_mm", lambda: file.create_dataset("z_mm", (N,), "f4", external=segments))


def absurd_features(file: h5py.File) -> None:
    put(file, "features", lambda: file.create_dataset("features", (2**40, D), "f4"))


def absurd_chunks(file: h5py.File) -> None:
    put(file, "features", lambda: file.create_dataset("features", (2**40, D), "f4", chunks=(1024, D)))


def absurd_measures(file: h5py.File) -> None:
    put(file, "measures", lambda: file.create_dataset("measures", (N, 2**40), "f4"))


def group(file: h5py.File) -> None:
    put(file, "lesion", lambda: file.create_group("lesion"))


def feats_is_a_copy(file: h5py.File) -> None:
    del file["feats"]
    file["feats"] = file["features"][()]


def version_1(file: h5py.File) -> None:
    file.attrs["format_version"] = 1
    for name in ("measures", "extent_mm"):
        del file[name]
    for name in ("modality", "feature_blocks", "reference_hu", "measure_names", "measure_units"):
        del file.attrs[name]


def histology(file: h5py.File) -> None:
    """A slide: no spacing, no phases, no sources, no extent."""
    file.attrs["modality"] = "histology"
    for name in ("phase_names", "phases_present", "phases_missing", "sources"):
        del file.attrs[name]
    file.attrs["reference_hu"] = "{}"
    file["phase"][:] = 0
    file["slice_index"][:] = np.arange(N)
    file["coords"][:] = np.stack([np.zeros(N), np.arange(N)], axis=1)
    file["z_mm"][:] = 0
    file["extent_mm"][:] = np.nan


def histology_with_sources(file: h5py.File) -> None:
    histology(file)
    slide = {
        "file": "slide.svs",
        "image_sha256": "1" * 64,
        "mask_sha256": "",
        "mask_source": "whole",
        "n_slices": 1,
    }
    file.attrs["sources"] = json.dumps({"-": slide})


def no_measures(file: h5py.File) -> None:
    put(file, "measures", lambda: file.create_dataset("measures", (N, 0), "f4"))
    file.attrs.update({"measure_names": texts(), "measure_units": texts()})


def radiomics(
    phases: tuple[int, ...] = (0, 1), values: object = (0.5, np.nan), settings: str = '{"software":"mirp"}'
) -> Change:
    """Add radiomics of two features, the second of which no phase has."""

    def change(file: h5py.File) -> None:
        file["radiomics"] = np.tile(np.array(values, dtype="f4"), (len(phases), 1))
        file["radiomics_phase"] = np.array(phases, dtype="i1")
        file.attrs["radiomics_names"] = texts("lesion.stat_mean", "rim.stat_var")
        file.attrs["radiomics_settings"] = settings

    return change


def then(*changes: Change) -> Change:
    return lambda file: [change(file) for change in changes]


def more_than_known(file: h5py.File) -> None:
    """What a reader does not know it may ignore, a link in it too, which it does not follow."""
    file.attrs["comment"] = "a later release may add this"
    file["embedding_2d"] = np.zeros((N, 2))
    file["original"] = h5py.ExternalLink("nowhere.h5", "/features")


def blocks(*given: tuple[str, int, int]) -> Change:
    rows = [{"name": name, "start": start, "stop": stop} for name, start, stop in given]
    return attribute("feature_blocks", json.dumps(rows))


def with_checksum(file: h5py.File) -> None:
    """Add bag_sha256, computed by the specification, without this project's writer."""
    arrays = {}
    for name in (name for name in file if name != "feats"):
        values = file[name][()]
        arrays[name] = hashlib.sha256(values.astype(values.dtype.newbyteorder("<")).tobytes()).hexdigest()
    covered = [
        "patient_id", "content_key", "modality", "phase_names", "phases_missing", "scale_names", "sources", "encoder", "layer",
        "weights_name", "weights_sha256", "precision", "preprocessing", "feature_blocks", "reference_hu", "measure_names",
        "measure_units", "radiomics_names", "radiomics_settings",
    ]  # fmt: skip
    attributes = {}
    for name in (name for name in covered if name in file.attrs):
        value = file.attrs[name]
        attributes[name] = value if isinstance(value, str) else list(value)
    told = json.dumps({"arrays": arrays, "attributes": attributes}, sort_keys=True, separators=(",", ":"))
    file.attrs["bag_sha256"] = hashlib.sha256(told.encode()).hexdigest()


VALID: Mapping[str, Change] = {
    "valid-ct": lambda _: None,
    "valid-ct-of-version-1": version_1,
    "valid-ct-without-measures": no_measures,
    "valid-ct-with-more-than-known": more_than_known,
    "valid-ct-with-radiomics": radiomics(),
    "valid-ct-with-radiomics-of-no-phase": radiomics(phases=()),
    "valid-ct-with-checksum": with_checksum,
    "valid-ct-with-radiomics-and-checksum": then(radiomics(), with_checksum),
    "valid-histology": histology,
    "valid-histology-with-sources": histology_with_sources,
}
NOT_FOLLOWED = "which is never followed"
COMPLETE = "expected phasemil-bag version 1 or 2, complete; found"
CHAIN = "expected feature_blocks that follow one another from 0 to 3, found"
DAMAGED = "an attribute of the bag is missing or damaged"
HOSTILE: Mapping[str, tuple[Change, str]] = {
    "another-format": (attribute("format", "other"), f"{COMPLETE} other version 2"),
    "no-format": (without_attribute("format"), f"{COMPLETE} no format and version"),
    "later-version": (attribute("format_version", 3), f"{COMPLETE} phasemil-bag version 3"),
    "version-in-words": (attribute("format_version", "two"), f"{COMPLETE} phasemil-bag version two"),
    "incomplete": (attribute("complete", False), f"{COMPLETE} phasemil-bag version 2, incomplete"),
    "complete-is-absent": (without_attribute("complete"), f"{COMPLETE} phasemil-bag version 2, incomplete"),
    "another-patient": (attribute("patient_id", "p7"), "its header says 'p7'"),
    "float16-features": (dataset("features", lambda v: v.astype("f2")), "found float16 (4, 3)"),
    "one-axis-features": (dataset("features", lambda v: v[:, 0].copy()), "found float32 (4,)"),
    "no-instance": (dataset("features", lambda v: v[:0]), "with n and d at least 1, found float32 (0, 3)"),
    "no-z_mm": (without("z_mm"), "lacks the dataset /z_mm"),
    "no-measures": (without("measures"), "lacks the dataset /measures"),
    "group-for-a-dataset": (group, "expected a dataset as /lesion, found Group"),
    "float64-z_mm": (dataset("z_mm", lambda v: v.astype("f8")), "expected z_mm as float32 (4,), found float64 (4,)"),
    "short-lesion": (dataset("lesion", lambda v: v[:3]), "expected lesion as int16 (4,), found int16 (3,)"),
    "short-measures": (dataset("measures", lambda v: v[:3]), "expected measures as float32 (4, m), found float32 (3, 1)"),
    "unsorted": (
        lambda file: [dataset(name, lambda v: v[::-1].copy())(file) for name in ("coords", "phase", "slice_index")],
        "expected instances sorted by phase, scale and slice index",
    ),
    "not-finite-features": (dataset("features", one(1, np.nan)), "features holds a value that is not finite"),
    "not-finite-z_mm": (dataset("z_mm", one(0, np.inf)), "z_mm holds a value that is not finite"),
    "infinite-measure": (dataset("measures", one(0, np.inf)), "measures holds an infinite value"),
    "no-extent": (dataset("extent_mm", one(2, np.nan)), "expected extent_mm above 0"),
    "flat-extent": (dataset("extent_mm", one(2, 0)), "expected extent_mm above 0"),
    "coords-disagree": (
        dataset("coords", lambda v: v + np.array([0, 1])),
        "coords and phase, slice_index disagree at instance 0: [0, 5] against [0, 4]",
    ),
    "feats-is-a-copy": (feats_is_a_copy, "expected /feats to be a hard link to /features"),
    "unknown-phase-number": (lambda file: numbered(file, "phase", 9), "expected phase from 0 to 2, found 0 to 9"),
    "negative-phase-number": (lambda file: numbered(file, "phase", -1, row=0), "expected phase from 0 to 2, found -1 to 1"),
    "unknown-scale-number": (lambda file: numbered(file, "scale", 1), "expected scale from 0 to 0, found 0 to 1"),
    "negative-slice": (lambda file: numbered(file, "slice_index", -4, row=0), "expected slice_index from 0, found -4"),
    "negative-lesion": (lambda file: numbered(file, "lesion", -1), "expected lesion from 0, found -1"),
    "negative-area": (dataset("tumour_area_mm2", one(0, -3)), "expected tumour_area_mm2 from 0, found -3"),
    "slice-beyond-its-volume": (
        lambda file: numbered(file, "slice_index", 80), "phase DP: expected slice_index below 80, the slices of its volume, found 80",
    ),
    "absurd-feature": (dataset("features", one(1, 1e30)), "expected features of at most 1e+09, found 1e+30"),
    "spacing-not-a-number": (
        lambda file: attribute("sources", file.attrs["sources"].replace("2.5", "NaN"))(file), "expected spacing_mm as three lengths above 0",
    ),
    "changed-feature": (then(with_checksum, dataset("features", one(1, 0.25))), "the bag was changed after it was written, or is damaged"),
    "changed-measure": (then(with_checksum, dataset("measures", one(0, 81))), "the bag was changed after it was written, or is damaged"),
    "changed-reference": (then(with_checksum, attribute("reference_hu", '{"AP":60}')), "the bag was changed after it was written"),
    "contents-of-another-patient": (
        then(attribute("patient_id", "p7"), with_checksum, attribute("patient_id", "contents-of-another-patient")),
        "the bag was changed after it was written",
    ),
    "no-sources": (attribute("sources", "{}"), "expected sources of the phases in the arrays (AP, DP), found none of AP, DP"),
    "source-without-spacing": (attribute("sources", '{"AP":{"file":"scan.nii.gz"}}'), f"{DAMAGED}: dict[str,Source]: AP."),
    "phase-missing-and-there": (
        attribute("phases_missing", '{"AP":"no scan"}'), "phase AP has a source and is named in phases_missing too",
    ),
    "missing-phase-unknown": (attribute("phases_missing", '{"EAP":"no scan"}'), "phases_missing names the phase 'EAP'"),
    "damaged-json": (attribute("phases_missing", "{"), DAMAGED),
    "deep-json": (attribute("preprocessing", "[" * 60000), DAMAGED),
    "no-encoder": (without_attribute("encoder"), DAMAGED),
    "number-for-text": (attribute("encoder", 7), f"{DAMAGED}: expected encoder as text, found"),
    "other-preprocessing": (attribute("preprocessing", '{"size_px":1}'), "preprocessing_sha256 is not that of preprocessing"),
    "phase-named-twice": (attribute("phase_names", texts("AP", "DP", "AP")), "phase_names holds 'AP'"),
    "blocks-overlap": (blocks(("whole", 0, 2), ("rim", 1, 3)), f"{CHAIN} whole 0:2, rim 1:3"),
    "blocks-leave-a-gap": (blocks(("whole", 0, 1), ("rim", 2, 3)), f"{CHAIN} whole 0:1, rim 2:3"),
    "blocks-leave-the-width": (blocks(("whole", 0, 2), ("rim", 2, 4)), f"{CHAIN} whole 0:2, rim 2:4"),
    "blocks-begin-below": (blocks(("whole", -1, 3)), f"{CHAIN} whole -1:3"),
    "block-of-nothing": (blocks(("whole", 0, 3), ("rim", 3, 3)), f"{CHAIN} whole 0:3, rim 3:3"),
    "block-named-twice": (blocks(("rim", 0, 2), ("rim", 2, 3)), "feature_blocks holds 'rim'"),
    "no-blocks": (blocks(), f"{CHAIN} none"),
    "measure-without-a-name": (
        attribute("measure_names", texts()), "a name and a unit for each of the 1 measures, found 0 names and 1 units",
    ),
    "measure-without-a-unit": (
        attribute("measure_units", texts()), "a name and a unit for each of the 1 measures, found 1 names and 0 units",
    ),
    "names-as-one-text": (attribute("measure_names", "lesion_median"), "expected measure_names as a list of texts"),
    "reference-not-finite": (attribute("reference_hu", '{"AP":NaN}'), "reference_hu holds a value that is not finite"),
    "reference-of-no-phase": (attribute("reference_hu", '{"EAP":60}'), "reference_hu names the phase 'EAP'"),
    "no-radiomics": (then(radiomics(), without("radiomics")), "lacks the dataset /radiomics"),
    "no-radiomics_phase": (then(radiomics(), without("radiomics_phase")), "lacks the dataset /radiomics_phase"),
    "no-radiomics_settings": (then(radiomics(), without_attribute("radiomics_settings")), DAMAGED),
    "radiomics-without-names": (then(radiomics(), without_attribute("radiomics_names")), DAMAGED),
    "radiomics-of-one-name": (
        then(radiomics(), attribute("radiomics_names", texts("lesion.stat_mean"))),
        "expected radiomics as float32 (2, 1), found float32 (2, 2)",
    ),
    "radiomics-named-twice": (
        then(radiomics(), attribute("radiomics_names", texts("lesion.stat_mean", "lesion.stat_mean"))),
        "radiomics_names holds 'lesion.stat_mean'",
    ),
    "radiomics-settings-as-a-list": (radiomics(settings="[]"), DAMAGED),
    "radiomics-without-settings": (radiomics(settings="{}"), "expected radiomics_names and radiomics_settings together"),
    "radiomics-of-a-phase-without-instances": (radiomics(phases=(0, 2)), "of phases in the arrays, each once; found [0, 2]"),
    "radiomics-of-a-phase-twice": (radiomics(phases=(1, 1)), "each once; found [1, 1]"),
    "radiomics-unsorted": (radiomics(phases=(1, 0)), "expected radiomics_phase ascending"),
    "infinite-radiomics": (radiomics(values=(np.inf, 0.0)), "radiomics holds an infinite value"),
    "float64-radiomics": (
        then(radiomics(), dataset("radiomics", lambda v: v.astype("f8"))), "expected radiomics as float32 (2, 2), found float64",
    ),
    "absurd-radiomics": (
        then(radiomics(), lambda file: put(file, "radiomics_phase", lambda: file.create_dataset("radiomics_phase", (2**40,), "i1"))),
        "expected radiomics as float32 (1099511627776, 2)",
    ),
    "external-link": (linked("features", h5py.ExternalLink(OTHER, "/features")), f"/features is a link that may lead to another file, {NOT_FOLLOWED}"),
    "external-link-to-a-column": (linked("z_mm", h5py.ExternalLink(OTHER, "/z_mm")), f"/z_mm is a link that may lead to another file, {NOT_FOLLOWED}"),
    "external-link-to-nowhere": (linked("lesion", h5py.ExternalLink("nowhere.h5", "/lesion")), f"/lesion is a link that may lead to another file, {NOT_FOLLOWED}"),
    "soft-link": (linked("feats", h5py.SoftLink("/features")), f"/feats is a link that may lead to another file, {NOT_FOLLOWED}"),
    "soft-link-to-another-file": (soft_link_through_a_group, f"/features is a link that may lead to another file, {NOT_FOLLOWED}"),
    "virtual-features": (virtual, f"the data of /features lie in another file, {NOT_FOLLOWED}"),
    "external-storage": (external_storage, f"the data of /z_mm lie in another file, {NOT_FOLLOWED}"),
    "absurd-features": (absurd_features, "expected features (1099511627776, 3) as 13194139533312 contiguous bytes, found 0 bytes"),
    "absurd-features-in-chunks": (absurd_chunks, "contiguous bytes, found 0 bytes, not contiguous"),
    "absurd-measures": (absurd_measures, "a name and a unit for each of the 1099511627776 measures"),
    "absurd-lesion": (lambda file: put(file, "lesion", lambda: file.create_dataset("lesion", (2**40,), "i2")), "expected lesion as int16 (4,), found int16 (1099511627776,)"),
}  # fmt: skip


def numbered(file: h5py.File, name: str, value: int, row: int = N - 1) -> None:
    """Set the number of one instance, in the coordinates too."""
    file[name][row] = value
    if name in ("phase", "slice_index"):
        file["coords"][row, 0 if name == "phase" else 1] = value


def write_not_hdf5() -> dict[str, str]:
    (FOLDER / "no-hdf5.h5").write_text("patient_id,phase\n")
    whole = (FOLDER / OTHER).read_bytes()
    (FOLDER / "half-a-file.h5").write_bytes(whole[: len(whole) // 2])
    (FOLDER / "empty.h5").write_bytes(b"")
    return dict.fromkeys(("no-hdf5", "half-a-file", "empty"), "not a readable HDF5 file")


def main() -> None:
    for path in FOLDER.glob("*.h5"):
        path.unlink()
    cases: dict[str, str | None] = dict.fromkeys(VALID)
    changes = {**VALID, **{name: change for name, (change, _) in HOSTILE.items()}}
    for name, change in changes.items():
        with h5py.File(FOLDER / f"{name}.h5", "w", meta_block_size=256) as file:
            write_ct(file)
            change(file)
    cases.update({name: message for name, (_, message) in HOSTILE.items()})
    cases.update(write_not_hdf5())
    text = json.dumps({f"{name}.h5": message for name, message in cases.items()}, indent=1)
    (FOLDER / "cases.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
