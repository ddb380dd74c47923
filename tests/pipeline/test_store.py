"""The slice store keeps slices as they are, whole or not at all."""

import json
import math
import re
import shutil
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import zarr

from pipeline.bags import Source
from pipeline.errors import StoreError
from pipeline.measures import MEASURE_NAMES
from pipeline.slices import PhaseSlices, SlabPlanes
from pipeline.store import PLACE, SliceStore, StoredPatient


def draw(phase: str, n: int, *, neighbours: bool = False) -> PhaseSlices:
    rng = np.random.default_rng(n)
    crops = rng.integers(-1024, 3000, size=(n, 20, 24), dtype=np.int16)
    return PhaseSlices(
        phase=phase,
        crops_hu=crops,
        masks=crops > 0,
        spacing_mm=(0.7, 0.71),
        slice_index=np.arange(n, dtype=np.int32),
        z_mm=rng.normal(size=n).astype(np.float32),
        tumour_area_mm2=rng.random(n).astype(np.float32),
        lesion=np.ones(n, dtype=np.int16),
        source=Source("a.nii.gz", "i", "m", "drawn", (0.7, 0.71, 1.3), 90),
        middle=np.full((n, 2), 7, dtype=np.int32) if neighbours else None,
        corner=np.arange(2 * n, dtype=np.int32).reshape(n, 2) - 3 if neighbours else None,
        neighbours=np.stack([crops, crops], axis=1) if neighbours else None,
        liver_hu=61.5 if neighbours else None,
        measures=_some_measures(n) if neighbours else None,
        context_hu=crops[:, ::4, ::4] if neighbours else None,
        context_step=4 if neighbours else 1,
        radiomics={"lesion.stat_mean": 80.5, "rim.stat_var": math.nan} if neighbours else None,
    )


def _some_measures(n: int) -> np.ndarray:
    measures = np.random.default_rng(n).normal(size=(n, len(MEASURE_NAMES))).astype(np.float32)
    measures[0, 1] = np.nan
    return measures


@pytest.fixture
def stored() -> StoredPatient:
    return StoredPatient("key", (draw("AP", 3), draw("DP", 5, neighbours=True)), {"NC": "an empty mask"})


def test_what_is_read_equals_what_was_written(tmp_path, stored):
    store = SliceStore(tmp_path / "slices.zarr")
    store.write("007", stored)
    back = store.read("007")
    assert (back.key, dict(back.faults)) == (stored.key, stored.faults)
    for a, b in zip(stored.phases, back.phases, strict=True):
        for name in (f.name for f in fields(PhaseSlices)):
            x, y = getattr(a, name), getattr(b, name)
            if isinstance(x, np.ndarray):
                assert x.dtype == y.dtype, name
                np.testing.assert_array_equal(x, y)
            else:
                assert x == y, name


def test_the_planes_of_slabs_are_read_where_they_are_wanted(tmp_path, stored):
    first, *others = stored.phases
    planes = SlabPlanes(first.crops_hu, first.masks, (3, 0, 7))
    store = SliceStore(tmp_path / "slices.zarr")
    store.write("007", replace(stored, phases=(replace(first, planes=planes), *others)))
    found, without = (store.read("007").phases[i].planes for i in (0, 1))
    np.testing.assert_array_equal(found.hu, planes.hu)
    np.testing.assert_array_equal(found.masks, planes.masks)
    assert found.masks.dtype == np.bool_
    assert found.first == (3, 0, 7)
    assert without is None
    assert store.read_phases("007")[0].planes is None
    assert store.read_phases("007", with_planes=True)[0].planes is not None


def test_it_is_a_sharded_zarr_that_others_can_open(tmp_path, stored):
    SliceStore(tmp_path / "slices.zarr").write("007", stored)
    array = zarr.open_group(str(tmp_path / "slices.zarr"), mode="r")["007/AP/crops_hu"]
    assert array.metadata.zarr_format == 3
    assert array.shards == (3, 20, 24)
    np.testing.assert_array_equal(array[1], stored.phases[0].crops_hu[1])


def test_slices_of_a_release_without_whole_slices_are_read(tmp_path, stored):
    store = SliceStore(tmp_path / "slices.zarr")
    store.write("007", stored)
    shutil.rmtree(tmp_path / "slices.zarr" / "007" / "DP" / "context_hu")
    about = tmp_path / "slices.zarr" / "007" / "zarr.json"
    without = json.loads(about.read_text())
    for name in ("files", "attributes_sha256"):
        del without["attributes"][name]
    about.write_text(re.sub(r'"context_step": \d+, ', "", json.dumps(without)))
    (_, delayed) = store.read_phases("007")
    assert (delayed.context_hu, delayed.context_step) == (None, 1)
    np.testing.assert_array_equal(delayed.crops_hu, stored.phases[1].crops_hu)


def test_a_remark_on_its_place_makes_the_sides_of_a_phase_doubtful(stored):
    remarked = replace(stored, remarks={"AP": [[PLACE, "no position"]], "DP": [["padding", "air"]]})
    assert [remarked.is_place_doubtful(phase) for phase in ("AP", "DP", "NC")] == [True, False, False]


def test_a_patient_is_replaced_and_nothing_is_left_over(tmp_path, stored):
    store = SliceStore(tmp_path / "slices.zarr")
    store.write("007", stored)
    store.write("007", replace(stored, key="other", phases=stored.phases[:1]))
    assert store.key_of("007") == "other"
    assert [phase.phase for phase in store.read_phases("007")] == ["AP"]
    assert [path.name for path in tmp_path.iterdir()] == ["slices.zarr"]


def test_a_patient_that_is_not_there_is_named(tmp_path):
    store = SliceStore(tmp_path / "slices.zarr")
    assert store.key_of("007") is None
    with pytest.raises(StoreError, match="no slices of patient 007; run stage 1"):
        store.read("007")


def shards(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.name != "zarr.json")


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)


def exchange(a: Path, b: Path) -> None:
    other = a.with_name("other")
    a.rename(other)
    b.rename(a)
    other.rename(b)


DAMAGES = {
    "a missing shard": lambda folder: shards(folder / "AP")[0].unlink(),
    "an empty shard": lambda folder: shards(folder / "AP")[0].write_bytes(b""),
    "rubbish": lambda folder: shards(folder / "AP")[0].write_bytes(b"rubbish"),
    "a flipped bit": lambda folder: flip_a_bit(shards(folder / "DP" / "masks")[0]),
    "a phase that is missing": lambda folder: shutil.rmtree(folder / "AP"),
    "exchanged phases": lambda folder: exchange(folder / "AP", folder / "DP"),
    "a file too much": lambda folder: (folder / "AP" / "more").write_bytes(b""),
    "other columns": lambda folder: (folder / "zarr.json").write_text(
        (folder / "zarr.json").read_text().replace('"liver_hu": 61.5', '"liver_hu": 16.5')
    ),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_patient_is_told(tmp_path, stored, damage):
    store = SliceStore(tmp_path / "slices.zarr")
    store.write("007", stored)
    damage(tmp_path / "slices.zarr" / "007")
    with pytest.raises(StoreError, match=r"007: damaged slices: .*run stage 1 again"):
        store.read("007")


def test_slices_are_there_with_their_key_and_all_their_files(tmp_path, stored):
    store = SliceStore(tmp_path / "slices.zarr")
    assert not store.holds("007", "key")
    store.write("007", stored)
    assert store.holds("007", "key")
    assert not store.holds("007", "another key")
    shards(tmp_path / "slices.zarr" / "007")[0].unlink()
    assert not store.holds("007", "key")


def test_a_store_of_another_version_is_refused(tmp_path, stored):
    store = SliceStore(tmp_path / "slices.zarr")
    store.write("007", stored)
    root = tmp_path / "slices.zarr" / "zarr.json"
    root.write_text(root.read_text().replace('"format_version": 1', '"format_version": 2'))
    with pytest.raises(StoreError, match="expected phasemil-slices version 1"):
        store.write("008", stored)


def test_the_content_is_that_of_the_slices_and_not_of_the_key(tmp_path, stored):
    here, there = SliceStore(tmp_path / "here.zarr"), SliceStore(tmp_path / "there.zarr")
    for store in (here, there):
        store.write("007", stored)
    assert here.content_of("007") == there.content_of("007")
    there.write("007", replace(stored, phases=(draw("AP", 4), stored.phases[1])))
    assert here.content_of("007") != there.content_of("007")


def test_nothing_stored_has_no_content(tmp_path):
    with pytest.raises(StoreError, match="no slices of patient 007"):
        SliceStore(tmp_path / "slices.zarr").content_of("007")
