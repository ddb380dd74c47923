"""From a prepared patient and its features to a bag."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from extract.config import ORGAN, ExtractConfig
from extract.embed import PreparedPatient
from extract.radiomics_settings import described_radiomics
from extract.reference import reference_of
from pipeline.bags import Bag, BagHeader, FeatureBlock, Recipe
from pipeline.measures import MEASURE_NAMES, MEASURE_UNITS
from pipeline.slices import PhaseSlices


def make_bag(
    config: ExtractConfig,
    recipe: Recipe,
    blocks: tuple[FeatureBlock, ...],
    prepared: PreparedPatient,
    features: NDArray[np.float32],
) -> Bag:
    """Join features, which run phase after phase and within it scale after scale, with what is known of them."""
    names, scales = config.cohort.phases, tuple(config.extract.input.scales_mm)
    phases = prepared.phases
    counts = [len(phase) * len(scales) for phase in phases]

    def column(name: str) -> NDArray[Any]:
        return np.concatenate([np.tile(getattr(phase, name), len(scales)) for phase in phases])

    scale = np.concatenate([np.repeat(np.arange(len(scales)), len(phase)) for phase in phases])
    return Bag(
        header=BagHeader(
            patient_id=prepared.patient.patient_id,
            phase_names=names,
            phases_missing=prepared.missing,
            scale_names=scales,
            recipe=recipe,
            sources={phase.phase: phase.source for phase in phases},
            content_key=prepared.content_key,
            tile_size_um=_side_mm(config, prepared) * 1000,
            tile_size_px=config.extract.input.size_px,
            feature_blocks=blocks,
            reference_hu=_references_hu(config, prepared),
            measure_names=MEASURE_NAMES if config.extract.has_lesions else (),
            measure_units=MEASURE_UNITS if config.extract.has_lesions else (),
            **_about_radiomics(config, prepared),
        ),
        features=features,
        phase=np.repeat([names.index(phase.phase) for phase in phases], counts).astype(np.int8),
        slice_index=column("slice_index"),
        z_mm=column("z_mm"),
        tumour_area_mm2=column("tumour_area_mm2"),
        lesion=column("lesion"),
        scale=scale.astype(np.int8),
        measures=np.concatenate([np.tile(_measures(phase), (len(scales), 1)) for phase in phases]),
        extent_mm=np.concatenate([_extents_mm(phase, config) for phase in phases]),
        **_radiomics(names, phases),
    )


def _extents_mm(phase: PhaseSlices, config: ExtractConfig) -> NDArray[np.float32]:
    """Return the depth of each instance's scale; of a scale without one the spacing of the slices."""
    boxes = config.extract.input.boxes.values()
    depths = [phase.source.spacing_mm[2] if box.depth_mm is None else box.depth_mm for box in boxes]
    return np.repeat(np.array(depths, dtype=np.float32), len(phase))


def _measures(phase: PhaseSlices) -> NDArray[np.float32]:
    return np.empty((len(phase), 0), dtype=np.float32) if phase.measures is None else phase.measures


def _about_radiomics(config: ExtractConfig, prepared: PreparedPatient) -> Mapping[str, Any]:
    """Return what the header says of radiomics; nothing where none were computed."""
    settings, first = config.extract.radiomics, prepared.phases[0].radiomics
    if settings is None or first is None:
        return {}
    return {"radiomics_names": tuple(first), "radiomics_settings": described_radiomics(settings)}


def _radiomics(names: tuple[str, ...], phases: tuple[PhaseSlices, ...]) -> Mapping[str, NDArray[Any]]:
    """Return the radiomics of the phases, a row for each; nothing where none were computed."""
    first = phases[0].radiomics
    if first is None:
        return {}
    rows = [[(phase.radiomics or {}).get(name, np.nan) for name in first] for phase in phases]
    return {
        "radiomics": np.array(rows, dtype=np.float32),
        "radiomics_phase": np.array([names.index(phase.phase) for phase in phases], dtype=np.int8),
    }


def _references_hu(config: ExtractConfig, prepared: PreparedPatient) -> dict[str, float]:
    """Return the HU of the organ in each phase of which it is known, where windows count from it."""
    if config.extract.input.reference != ORGAN:
        return {}
    found = {phase.phase: reference_of(phase).hu for phase in prepared.phases}
    return {phase: hu for phase, hu in found.items() if hu is not None}


def constant_phases(
    prepared: PreparedPatient, features: NDArray[np.float32], n_scales: int
) -> dict[str, str]:
    """Find phases whose slices all have the same features: phase -> what is wrong.

    An encoder tells slices of a patient apart, unless the window shows nothing of them.
    """
    found = {}
    for phase, rows in zip(prepared.phases, _of_phases(prepared, features, n_scales), strict=True):
        by_slice = rows.reshape(n_scales, len(phase), -1)
        if len(phase) > 1 and np.allclose(by_slice, by_slice[:, :1], rtol=1e-5, atol=1e-7):
            found[phase.phase] = (
                f"expected features that differ between slices, found the same on all {len(phase)} of {phase.source.file}: "
                "the windows of [extract.input] show nothing of it, or its voxels are not in HU"
            )
    return found


def without_phases(
    prepared: PreparedPatient, features: NDArray[np.float32], n_scales: int, reasons: dict[str, str]
) -> tuple[PreparedPatient, NDArray[np.float32]]:
    """Return a patient and its features without some phases, which are missing for the reasons given."""
    parts = _of_phases(prepared, features, n_scales)
    kept = [
        (phase, rows)
        for phase, rows in zip(prepared.phases, parts, strict=True)
        if phase.phase not in reasons
    ]
    phases = tuple(phase for phase, _ in kept)
    rows = np.concatenate([rows for _, rows in kept]) if kept else features[:0]
    return replace(prepared, phases=phases, missing={**prepared.missing, **reasons}), rows


def _of_phases(
    prepared: PreparedPatient, features: NDArray[np.float32], n_scales: int
) -> Iterable[NDArray[np.float32]]:
    ends = np.cumsum([len(phase) * n_scales for phase in prepared.phases])
    return np.split(features, ends[:-1])


def _side_mm(config: ExtractConfig, prepared: PreparedPatient) -> float:
    """Return the side of the first scale; of a whole slice, the height of the first phase."""
    side = next(iter(config.extract.input.boxes.values())).side_mm
    first = prepared.phases[0]
    return first.crops_hu.shape[1] * first.spacing_mm[0] if side is None else side
