"""Radiomics against the consensus of the Image Biomarker Standardisation Initiative, and what is told where there are none."""

from dataclasses import replace

import numpy as np
import pytest

from extract.radiomics_boxes import ScanBox
from extract.radiomics_settings import RadiomicsSection

pytest.importorskip("mirp", reason="the extra radiomics is not installed")

from mirp import extract_features
from mirp._images.ct_image import CTImage
from mirp._masks.base_mask import BaseMask

from extract.radiomics import feature_names, measure_box

# The digital phantom of the IBSI (CC BY 4.0): Zwanenburg A, Leger S, Vallières M, Löck S. Image biomarker standardisation
# initiative, arXiv:1612.07003, chapter on the reference data sets; (z, y, x), voxels of 2 mm.
PHANTOM = np.array(
    [
        [[1, 4, 4, 1, 1], [1, 4, 6, 1, 1], [4, 1, 6, 4, 1], [4, 4, 6, 4, 1]],
        [[1, 4, 4, 1, 1], [1, 1, 6, 1, 1], [1, 1, 3, 1, 1], [4, 4, 6, 1, 1]],
        [[1, 4, 4, 1, 1], [1, 1, 1, 1, 1], [1, 1, 9, 1, 1], [1, 1, 6, 1, 1]],
        [[1, 4, 4, 1, 1], [1, 1, 1, 1, 1], [1, 1, 1, 1, 1], [1, 1, 6, 1, 1]],
    ],
    dtype=np.int16,
)
REGION = np.ones(PHANTOM.shape, dtype=np.bool_)
REGION[(1, 2, 2, 2, 3, 3), (2, 0, 0, 2, 0, 0), (0, 3, 4, 2, 3, 4)] = False
# Consensus values of the same document and of the reference values published with it, three digits each.
CONSENSUS = {
    "morph_volume": (556, 4), "morph_vol_approx": (592, 4), "morph_area_mesh": (388, 3), "morph_sphericity": (0.843, 0.005),
    "morph_diam": (13.1, 0.1), "morph_pca_flatness": (0.749, 0.005), "morph_com": (0.672, 0.004),
    "loc_peak_loc": (2.6, 0), "loc_peak_glob": (3.1, 0),
    "stat_mean": (2.15, 0), "stat_var": (3.05, 0), "stat_skew": (1.08, 0), "stat_kurt": (-0.355, 0), "stat_median": (1, 0),
    "stat_p90": (4, 0), "stat_iqr": (3, 0), "stat_mad": (1.55, 0), "stat_cov": (0.812, 0), "stat_energy": (567, 0),
    "ih_entropy": (1.27, 0), "ih_uniformity": (0.512, 0), "ih_max_grad": (8, 0), "ih_min_grad": (-50, 0),
    "ivh_v10": (0.324, 0), "ivh_i90": (2, 0),
    "cm_joint_entr_d1_3d_v_mrg": (2.57, 0), "cm_energy_d1_3d_v_mrg": (0.291, 0), "cm_contrast_d1_3d_v_mrg": (5.12, 0),
    "cm_corr_d1_3d_v_mrg": (0.183, 0), "cm_clust_prom_d1_3d_v_mrg": (147, 0), "cm_info_corr2_d1_3d_v_mrg": (0.269, 0),
    "rlm_sre_3d_v_mrg": (0.729, 0), "rlm_glnu_3d_v_mrg": (281, 0), "rlm_rl_entr_3d_v_mrg": (2.62, 0),
    "szm_lze_3d": (550, 0), "szm_zs_var_3d": (331, 0), "dzm_zdnu_3d": (5, 0), "dzm_zd_entr_3d": (1.92, 0),
    "ngt_coarseness_3d": (0.0296, 0), "ngt_strength_3d": (0.763, 0),
    "ngl_dc_entr_d1_a0.0_3d": (4.4, 0), "ngl_dc_energy_d1_a0.0_3d": (0.0533, 0),
}  # fmt: skip
ALL = (*RadiomicsSection.model_fields["families"].default, "local_intensity")
OF_PHANTOM = RadiomicsSection(
    spacing_mm="native", range_hu=(1, 6), bin_width_hu=1, families=ALL, regions=("lesion",)
)
"""No resampling, and bins that are the grey levels themselves."""


def rounded(value: float) -> float:
    return float(f"{value:.3g}")


@pytest.fixture(scope="module")
def of_phantom() -> dict[str, float]:
    found = measure_box(ScanBox(PHANTOM, REGION, REGION, (2.0, 2.0, 2.0)), OF_PHANTOM)
    assert not found.remarks
    return {
        name.removeprefix("lesion.").removesuffix("_fbs_w1.0"): value for name, value in found.values.items()
    }


@pytest.mark.parametrize("name", CONSENSUS)
def test_the_digital_phantom_of_the_ibsi_has_the_consensus_values(of_phantom, name):
    expected, tolerance = CONSENSUS[name]
    assert abs(rounded(of_phantom[name]) - expected) <= tolerance + 1e-9


def test_statistics_and_cooccurrences_of_the_phantom_are_those_of_numpy(of_phantom):
    """The consensus has three digits; these are computed here from the voxels, by the definitions of the document."""
    x = PHANTOM[REGION].astype(float)
    assert len(x) == 74
    for name, value in {
        "stat_mean": x.mean(), "stat_var": x.var(), "stat_skew": ((x - x.mean()) ** 3).mean() / x.std() ** 3,
        "stat_kurt": ((x - x.mean()) ** 4).mean() / x.var() ** 2 - 3, "stat_rms": np.sqrt((x**2).mean()),
    }.items():  # fmt: skip
        assert of_phantom[name] == pytest.approx(value, rel=1e-6), name
    pairs = np.zeros((7, 7))
    inside = np.argwhere(REGION)
    for a in inside:
        for b in inside:
            if np.abs(a - b).max() == 1:
                pairs[PHANTOM[tuple(a)], PHANTOM[tuple(b)]] += 1
    share = pairs / pairs.sum()
    known = share[share > 0]
    assert of_phantom["cm_joint_entr_d1_3d_v_mrg"] == pytest.approx(-(known * np.log2(known)).sum(), rel=1e-6)
    i, j = np.indices(share.shape)
    assert of_phantom["cm_contrast_d1_3d_v_mrg"] == pytest.approx((share * (i - j) ** 2).sum(), rel=1e-6)


def ball(
    radius_mm: float = 14.0, *, spacing=(2.5, 0.8, 0.8), value: int | None = None, seed: int = 0
) -> ScanBox:
    """A ball of 90 HU in tissue of 110 HU with noise of 15 HU, with room around it."""
    shape = tuple(int(2 * (radius_mm + 16) / step) for step in spacing)
    mm = [np.arange(n) * step - n * step / 2 for n, step in zip(shape, spacing, strict=True)]
    distance = np.sqrt(sum(axis**2 for axis in np.meshgrid(*mm, indexing="ij")))
    lesion = distance < radius_mm
    noise = np.random.default_rng(seed).normal(0, 15, shape)
    hu = np.where(lesion, 90, 110) + noise if value is None else np.full(shape, value)
    return ScanBox(np.rint(hu).astype(np.int16), lesion, lesion, spacing)


@pytest.mark.parametrize("spacing_mm", [1.5, 3.0])
def test_the_numbers_are_those_of_the_public_function_of_mirp(spacing_mm):
    """The parts of MIRP that are put together here are not public; its own entry must give the same to the last digit."""
    box = ball()
    settings = RadiomicsSection(spacing_mm=spacing_mm, regions=("lesion",), interpolation="cubic")
    place = {
        "sample_name": "box", "image_origin": (0.0, 0.0, 0.0), "image_orientation": np.eye(3),
        "image_spacing": box.spacing_mm, "image_dimensions": box.hu.shape,
    }  # fmt: skip
    (table,) = extract_features(
        image=CTImage(image_data=box.hu.astype(np.float32), image_modality="ct", **place),
        mask=BaseMask(roi_name="lesion", image_data=box.lesion, image_modality="generic_mask", **place),
        new_spacing=spacing_mm, resegmentation_intensity_range=[-100.0, 300.0],
        base_discretisation_method="fixed_bin_size", base_discretisation_bin_width=25.0,
    )  # fmt: skip
    found = measure_box(box, settings).values
    assert len(found) > 150
    for name, value in found.items():
        assert np.float32(value) == np.float32(table[name.removeprefix("lesion.")].iloc[0]), name


def test_the_names_are_those_of_the_values_in_their_order():
    settings = RadiomicsSection(spacing_mm=3.0)
    names = feature_names(settings)
    assert tuple(measure_box(ball(), settings).values) == names
    assert len(set(names)) == len(names)
    assert {name.partition(".")[0] for name in names} == {"lesion", "rim"}
    assert not [name for name in names if name.startswith("rim.morph")]


def test_the_rim_is_the_ring_around_the_lesion_without_other_lesions():
    """200 HU in the ring on one side, and there another lesion: the rim has the tissue alone."""
    box = ball(value=50)
    side = np.arange(box.hu.shape[2]) > box.hu.shape[2] * 0.6
    other = ~box.lesion & side
    hu = np.where(other, 200, box.hu).astype(np.int16)
    settings = RadiomicsSection(spacing_mm="native", families=("statistics",), rim_mm=8.0)
    spoiled = measure_box(replace(box, hu=hu), settings).values
    clean = measure_box(replace(box, hu=hu, tumour=box.lesion | other), settings).values
    assert spoiled["rim.stat_max"] == 200
    assert clean["rim.stat_max"] == clean["rim.stat_mean"] == 50
    assert spoiled["lesion.stat_mean"] == clean["lesion.stat_mean"] == 50


def test_voxels_outside_of_the_range_count_for_the_shape_only():
    box = ball(value=50)
    gas = replace(box, hu=np.where(np.indices(box.hu.shape)[0] % 2 == 0, -900, box.hu).astype(np.int16))
    settings = RadiomicsSection(
        spacing_mm="native", families=("morphology", "statistics"), regions=("lesion",)
    )
    whole, half = (measure_box(one, settings).values for one in (box, gas))
    assert half["lesion.stat_min"] == 50
    assert half["lesion.morph_volume"] == whole["lesion.morph_volume"] > 0


def test_a_region_that_is_too_small_has_no_features_and_says_so():
    settings = RadiomicsSection(spacing_mm=2.0)
    found = measure_box(ball(4.0), settings)
    lesion = [value for name, value in found.values.items() if name.startswith("lesion.")]
    assert np.isnan(lesion).all()
    assert found.values["rim.stat_mean"] == pytest.approx(110, abs=2)
    (remark,) = found.remarks
    assert remark.startswith(
        "lesion: no radiomics: expected 64 voxels or more of -100 to 300 HU after resampling, found "
    )


def test_a_lesion_that_resampling_leaves_nothing_of_says_so():
    box = ball(3.0)
    found = measure_box(box, RadiomicsSection(spacing_mm=20.0, regions=("lesion",), minimum_voxels=1))
    assert np.isnan(list(found.values.values())).all()
    assert found.remarks[0] == (
        "lesion: no radiomics: expected 1 voxels or more of -100 to 300 HU after resampling, found 0"
    )


def test_what_cannot_be_computed_of_one_value_alone_is_missing_and_named():
    found = measure_box(ball(value=60), RadiomicsSection(spacing_mm=3.0, regions=("lesion",)))
    missing = [name for name, value in found.values.items() if np.isnan(value)]
    assert missing
    assert found.remarks[0].startswith(
        f"lesion: {len(missing)} of {len(found.values)} radiomics features cannot be computed: "
    )
    assert missing[0].removeprefix("lesion.") in found.remarks[0]
    assert any(remark.startswith("MIRP: Fixed bin size discretisation") for remark in found.remarks)


@pytest.mark.parametrize(
    "changes",
    [
        {"bins": 16},
        {"bin_width_hu": 10.0},
        {"by_slice": True},
        {"anti_aliasing": False},
        {"interpolation": "cubic"},
    ],
    ids=str,
)
def test_each_setting_reaches_mirp(changes):
    plain = RadiomicsSection(spacing_mm=3.0, regions=("lesion",), families=("statistics", "glcm"))
    ours = measure_box(ball(), plain).values
    theirs = measure_box(ball(), RadiomicsSection(**{**plain.model_dump(), **changes})).values
    assert ours != theirs


def test_the_same_box_gives_the_same_numbers():
    settings = RadiomicsSection(spacing_mm=2.0)
    assert measure_box(ball(), settings).values == measure_box(ball(), settings).values
