"""Radiomics of one scan by MIRP, as the Image Biomarker Standardisation Initiative (IBSI) defines them.

MIRP resamples, re-segments, discretises and computes; here a scan is cut to the box of its lesion, the regions are drawn, and
everything that MIRP cannot compute is told. MIRP has no public entry for arrays with a spacing, so that this module alone uses
parts of it that a new release may change: the extra names the releases that the tests have passed with.

MIRP computes Moran's I and Geary's C of more than a thousand voxels from randomly drawn ones, at most of the cost of all
features; they are left out. The grid of the resampled voxels is centred on the box, not on the scan, which nobody resamples
as a whole for one lesion.

Reference: Zwanenburg A, et al. The Image Biomarker Standardization Initiative: standardized quantitative radiomics for
high-throughput image-based phenotyping. Radiology 2020;295:328-338.
"""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from mirp._features.base_feature import Feature
from mirp._features.feature_generator import generate_features
from mirp._images.ct_image import CTImage
from mirp._masks.base_mask import BaseMask
from mirp._workflows.standardWorkflow import StandardWorkflow
from mirp.settings.generic import SettingsClass
from numpy.typing import NDArray
from scipy import ndimage

from extract.radiomics_boxes import Radiomics, ScanBox
from extract.radiomics_settings import LESION, NATIVE, RIM, RadiomicsSection

_SAMPLED = frozenset(("morph_moran_i", "morph_geary_c"))
_OF_SHAPE = "morph_"
_FAILURES = (ArithmeticError, ValueError, TypeError, LookupError, RuntimeError)
"""What numpy, scipy and MIRP raise on regions that a feature is not defined for."""
_TOLD = 5
"""Features of which a finding gives the names."""


def feature_names(settings: RadiomicsSection) -> tuple[str, ...]:
    """Return the names of all features, region after region."""
    image = _image(np.zeros((1, 1, 1), dtype=np.int16), (1.0, 1.0, 1.0))
    setup = _mirp_settings(settings)
    return tuple(
        f"{region}.{name}" for region in settings.regions for name, _ in _features(setup, image, region)
    )


def measure_box(box: ScanBox, settings: RadiomicsSection) -> Radiomics:
    """Compute the features of a box, region after region; what cannot be computed is NaN and has a remark."""
    values: dict[str, float] = {}
    remarks: list[str] = []
    setup = _mirp_settings(settings)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        prepared = _prepared(box, settings, setup)
        for region in settings.regions:
            found, remark = _measured(prepared, settings, setup, region)
            values |= {f"{region}.{name}": value for name, value in found.items()}
            remarks += remark
    # numpy's own warnings of empty means and divisions by zero are of features that come out NaN, which are named.
    told = [str(w.message) for w in warned if not issubclass(w.category, RuntimeWarning)]
    return Radiomics(values, (*remarks, *(f"MIRP: {' '.join(text.split())}" for text in dict.fromkeys(told))))


def _image(hu: NDArray[np.int16], spacing_mm: Sequence[float]) -> CTImage:
    return CTImage(image_data=hu.astype(np.float32), **_placed(hu.shape, spacing_mm, "ct"))


def _mask(voxels: NDArray[np.bool_], region: str, spacing_mm: Sequence[float]) -> BaseMask:
    return BaseMask(roi_name=region, image_data=voxels, **_placed(voxels.shape, spacing_mm, "generic_mask"))


def _placed(shape: tuple[int, ...], spacing_mm: Sequence[float], modality: str) -> Mapping[str, Any]:
    return {
        "sample_name": "box",
        "image_modality": modality,
        "image_origin": (0.0, 0.0, 0.0),
        "image_orientation": np.eye(3),
        "image_spacing": tuple(spacing_mm),
        "image_dimensions": shape,
    }


def _mirp_settings(settings: RadiomicsSection) -> SettingsClass:
    width = settings.width_hu
    bins = (
        {"base_discretisation_method": "fixed_bin_number", "base_discretisation_n_bins": settings.bins}
        if width is None
        else {"base_discretisation_method": "fixed_bin_size", "base_discretisation_bin_width": width}
    )
    spacing = None if settings.spacing_mm == NATIVE else settings.spacing_mm
    return SettingsClass(
        by_slice=settings.by_slice,
        ibsi_compliant=True,
        new_spacing=spacing,
        spline_order={"linear": 1, "cubic": 3}[settings.interpolation],
        anti_aliasing=settings.anti_aliasing,
        resegmentation_intensity_range=list(settings.range_hu),
        base_feature_families=list(settings.families),
        **bins,
    )


def _features(setup: SettingsClass, image: CTImage, region: str) -> Iterator[tuple[str, Feature]]:
    """Yield name and feature of MIRP, to be computed in this order, in which they share what they are computed from."""
    for feature in generate_features(settings=setup.feature_extr):
        if not feature.is_ibsi_compliant(image=image):
            continue
        feature.create_table_name()
        name = str(feature.table_name)
        if name not in _SAMPLED and not (region == RIM and name.startswith(_OF_SHAPE)):
            yield name, feature


@dataclass(frozen=True, eq=False)
class _Prepared:
    """A box after resampling: the image, the mask of each region that has a voxel left, and a fault of all of them."""

    image: CTImage
    masks: Mapping[str, BaseMask]
    fault: str = ""


def _prepared(box: ScanBox, settings: RadiomicsSection, setup: SettingsClass) -> _Prepared:
    """Let MIRP resample and re-segment a box."""
    image = _image(box.hu, box.spacing_mm)
    regions = {region: _drawn(box, settings, region) for region in settings.regions}
    image.associated_masks = [
        _mask(voxels, region, box.spacing_mm) for region, voxels in regions.items() if voxels.any()
    ]
    spacing = setup.img_interpolate.new_spacing
    workflow = StandardWorkflow(
        image_file=image,
        settings=setup,
        export_features=True,
        new_image_spacing=None if spacing is None else tuple(spacing[0]),
    )
    try:
        for resampled, masks in workflow.standard_image_processing():
            return _Prepared(resampled, {str(mask.roi_name): mask for mask in masks})
    except _FAILURES as error:
        return _Prepared(image, {}, f"{type(error).__name__}: {error}")
    return _Prepared(image, {})


def _drawn(box: ScanBox, settings: RadiomicsSection, region: str) -> NDArray[np.bool_]:
    if region == LESION:
        return box.lesion
    distance_mm = ndimage.distance_transform_edt(~box.lesion, sampling=box.spacing_mm)
    rim: NDArray[np.bool_] = (distance_mm <= settings.rim_mm) & ~box.tumour
    return rim


def _measured(
    prepared: _Prepared, settings: RadiomicsSection, setup: SettingsClass, region: str
) -> tuple[Mapping[str, float], list[str]]:
    """Return the features of a region and what is to be told of it."""
    features = list(_features(setup, prepared.image, region))
    missing = dict.fromkeys((name for name, _ in features), float("nan"))
    mask = prepared.masks.get(region)
    if prepared.fault:
        return missing, [f"{region}: no radiomics: MIRP cannot resample the scan ({prepared.fault})"]
    n_voxels, at_least = 0 if mask is None else _count(mask), settings.minimum_voxels
    if n_voxels < at_least:
        low, high = settings.range_hu
        expected = f"{at_least} voxels or more of {low:g} to {high:g} HU after resampling"
        return missing, [f"{region}: no radiomics: expected {expected}, found {n_voxels}"]
    return _computed(features, prepared.image, mask, region)


def _count(mask: BaseMask) -> int:
    voxels = mask.roi_intensity.get_voxel_grid()
    return 0 if voxels is None else int(np.count_nonzero(voxels))


def _computed(
    features: Sequence[tuple[str, Feature]], image: CTImage, mask: BaseMask, region: str
) -> tuple[Mapping[str, float], list[str]]:
    values, failures = {}, []
    previous = None
    for name, feature in features:
        try:
            feature.compute(image=image, mask=mask)
            values[name] = float("nan") if feature.value is None else float(np.float32(feature.value))
        except _FAILURES as error:
            values[name] = float("nan")
            failures.append(f"{name}: {type(error).__name__}: {error}")
        if previous is not None:
            previous.clear_local_cache(other=feature)
        previous = feature
    for _, feature in features:
        feature.clear_cache()
    infinite = [name for name, value in values.items() if np.isinf(value)]
    values |= dict.fromkeys(infinite, float("nan"))
    lacking = [name for name, value in values.items() if np.isnan(value)]
    remarks = [f"{region}: {_listed(lacking, len(values))}"] if lacking else []
    return values, [*remarks, *(f"{region}: MIRP failed at {failure}" for failure in failures[:1])]


def _listed(names: Sequence[str], n: int) -> str:
    more = f" and {len(names) - _TOLD} more" if len(names) > _TOLD else ""
    return f"{len(names)} of {n} radiomics features cannot be computed: {', '.join(names[:_TOLD])}{more}"
