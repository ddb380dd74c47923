"""Radiomics from scan to bag: computed once while scans are read, kept in the store, made anew for other settings."""

import numpy as np
import pytest

import extract.radiomics_settings
from pipeline.bags import read_bag
from pipeline.store import SliceStore
from pipeline.tables import read_table
from tests.extract.conftest import draw_scan, save
from tests.extract.test_run import destroy_scans
from tests.extract.test_variants import BASE, TIGHT, WIDE, decoded, files_of  # noqa: F401 - a fixture

pytest.importorskip("mirp", reason="the extra radiomics is not installed")

SMALL = """[extract.radiomics]
spacing_mm = 2.0
families = ["statistics", "glcm"]
rim_mm = 4.0
"""


def findings(playground) -> list[tuple[str, str, str]]:
    rows = read_table(playground.bags / "findings.csv")
    return [(row["patient_id"], row["phase"], row["reason"]) for row in rows if row["finding"] == "radiomics"]


def test_each_phase_has_a_row_whose_numbers_are_those_of_its_lesion(playground, command):
    """Not resampled, the mean over the tumour of 100 HU is that of its voxels; its surroundings have 40 HU."""
    for seed, phase in enumerate(("AP", "PVP")):
        playground.add("a", phase, seed=seed)
    code, printed = command("run", playground.configure(SMALL), 'radiomics.spacing_mm="native"')
    assert code == 0, printed
    bag = playground.bag("a")
    names, phases = bag.header.radiomics_names, [bag.header.phase_names[i] for i in bag.radiomics_phase]
    assert phases == ["AP", "PVP"]
    assert bag.header.radiomics_settings["rim_mm"] == 4.0
    by_name = dict(zip(names, bag.radiomics.T, strict=True))
    scans = [draw_scan(seed) for seed in range(2)]
    means = [image[mask > 0].mean() for image, mask in scans]
    np.testing.assert_allclose(by_name["lesion.stat_mean"], means, rtol=1e-6)
    np.testing.assert_allclose(by_name["rim.stat_mean"], 40, atol=1)
    assert np.isfinite(bag.radiomics).all()
    _, told = command("inspect", playground.bags / "a.h5")
    assert f"radiomics      {len(names) // 2} of lesion, {len(names) // 2} of rim; mirp 2.7" in told
    assert "radiomics of 2 scans: " in (playground.folder / "out" / "run.log").read_text()


def test_without_the_table_a_bag_is_as_before(playground, command):
    playground.add("a")
    config = playground.configure()
    command("run", config)
    bag = playground.bag("a")
    assert (bag.header.radiomics_names, bag.radiomics.shape) == ((), (0, 0))
    command("run", playground.configure(SMALL))
    ours = playground.bag("a")
    np.testing.assert_array_equal(ours.features, bag.features)
    np.testing.assert_array_equal(ours.measures, bag.measures)
    assert ours.header.recipe == bag.header.recipe
    assert ours.header.content_key != bag.header.content_key


def test_variants_share_the_radiomics_of_one_reading(playground, command, decoded):  # noqa: F811
    playground.add("a")
    code, printed = command("run", playground.configure(BASE + SMALL + TIGHT + WIDE))
    assert code == 0, printed
    tight, wide = (read_bag(playground.bags / name / "a.h5") for name in ("tight", "wide"))
    np.testing.assert_array_equal(tight.radiomics, wide.radiomics)
    assert decoded == [("a", "PVP")]


def test_they_come_from_the_store_where_the_scans_are_gone(playground, command):
    playground.add("a")
    command("run", playground.configure(SMALL))
    before = playground.bag("a")
    destroy_scans(playground)
    code, printed = command("run", playground.folder / "test.toml", "rim_mm=5.0", 'regions=["rim"]')
    assert code == 0, printed
    np.testing.assert_array_equal(playground.bag("a").radiomics, before.radiomics)
    (phase,) = SliceStore(playground.folder / "out" / "slices.zarr").read_phases("a")
    assert phase.radiomics is not None
    assert tuple(phase.radiomics) == before.header.radiomics_names


def test_other_settings_and_another_release_of_mirp_make_them_anew(playground, command, monkeypatch):
    playground.add("a")
    command("run", playground.configure(SMALL))
    first = files_of(playground.bags)
    assert "0 bags written" in command("run", playground.folder / "test.toml")[1]
    assert files_of(playground.bags) == first
    assert "1 bags written" in command("run", playground.folder / "test.toml", "radiomics.bin_width_hu=10")[1]
    monkeypatch.setattr(extract.radiomics_settings, "_installed_version", lambda: "2.7.9")
    assert "1 bags written" in command("run", playground.folder / "test.toml")[1]
    assert playground.bag("a").header.radiomics_settings["version"] == "2.7.9"


def test_a_lesion_that_is_too_small_is_a_finding_and_nan_and_the_scan_is_kept(playground, command):
    image, mask = draw_scan()
    mask[:] = 0
    mask[14:17, 14:17, 5:7] = 1
    playground.add(
        "a",
        image=save(playground.folder / "i.nii.gz", image).name,
        mask=save(playground.folder / "m.nii.gz", mask).name,
    )
    code, printed = command("run", playground.configure(SMALL))
    assert code == 0
    ((patient_id, phase, reason),) = findings(playground)
    assert (patient_id, phase) == ("a", "PVP")
    assert reason.startswith(
        "lesion: no radiomics: expected 64 voxels or more of -100 to 300 HU after resampling, found "
    )
    assert reason in printed
    bag = playground.bag("a")
    is_lesion = [name.startswith("lesion.") for name in bag.header.radiomics_names]
    assert np.isnan(bag.radiomics[0, is_lesion]).all()
    assert np.isfinite(bag.radiomics[0, ~np.array(is_lesion)]).all()
    assert playground.excluded() == {}


def test_thinned_slices_do_not_change_the_radiomics(playground, command):
    """They are of the whole lesion, with what lies around it, whichever of its slices are embedded."""
    playground.add("a")
    command("run", playground.configure(SMALL))
    whole = playground.bag("a")
    command("run", playground.configure(SMALL), "slices.at_most=2")
    thinned = playground.bag("a")
    assert (len(whole), len(thinned)) == (5, 2)
    np.testing.assert_array_equal(thinned.radiomics, whole.radiomics)


@pytest.mark.parametrize("asked", ["check", "run"])
def test_a_missing_extra_is_told_before_anything_is_read(playground, command, monkeypatch, asked):
    playground.add("a")
    monkeypatch.setattr(extract.radiomics_settings, "SOFTWARE", "no-such-distribution")
    code, printed = command(asked, playground.configure(SMALL))
    assert code == 2
    assert "needs the extra `radiomics`: pip install 'phasemil[radiomics]'" in printed
    assert not list(playground.bags.glob("*.h5"))


def test_a_variant_with_other_radiomics_is_refused(playground, command):
    playground.add("a")
    other = "[extract.variant.other.radiomics]\nspacing_mm = 1.0\n"
    code, printed = command("run", playground.configure(BASE + SMALL + other))
    assert code == 2
    assert "they are computed once for all variants, while the scans are read" in " ".join(printed.split())
    code, printed = command("run", playground.configure(BASE + other))
    assert code == 2
    assert "they are computed once for all variants, while the scans are read" in " ".join(printed.split())


def test_slabs_beside_them_change_no_number(playground, command):
    playground.add("a")
    command("run", playground.configure(SMALL))
    alone = playground.bag("a")
    slab = "[extract.input]\nsize_px = 32\nscales_mm = { slab = { side = 20.0, depth = 12.0 } }\n"
    code, printed = command("run", playground.configure(SMALL + slab))
    assert code == 0, printed
    beside = playground.bag("a")
    assert beside.extent_mm.tolist() == [12.0] * 5
    np.testing.assert_array_equal(beside.radiomics, alone.radiomics)
