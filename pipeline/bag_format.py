"""The bag (contract 2): one HDF5 file of features per patient and encoder, format `phasemil-bag`, version 2.

A bag file MUST be named `<patient_id>.h5` and hold, for n instances, d features and m measures:

    /features         float32 (n, d), contiguous, finite, within +-1e9; never float16, whatever the forward precision was
    /feats            a hard link to /features
    /measures         float32 (n, m): physical measures of the instance, NaN where one is not available; m MAY be 0
    /coords           int64 (n, 2): phase index, slice index
    /phase            int8 (n,): index into the attribute phase_names
    /slice_index      int32 (n,): 0-based along z of the canonical array, inferior to superior; of a slab, its middle slice; of CT
                      below n_slices of the source
    /z_mm             float32 (n,): patient coordinate of the slice centre
    /extent_mm        float32 (n,): thickness along z that the instance covers, above 0: the slice spacing, or the depth of a slab, also
                      where it reaches beyond the scan; NaN MAY stand in a bag that is not of CT
    /tumour_area_mm2  float32 (n,), at least 0
    /lesion           int16 (n,): number of the connected or given lesion, from 1; 0 where there is none
    /scale            int8 (n,): index into the attribute scale_names

n MUST be at least 1. Instances MUST be sorted by phase, then scale, then slice index. A phase without a scan
MUST be absent from the arrays and named in phases_missing with the reason; it MUST NOT be filled with zeros.

The root MUST have the attributes format = "phasemil-bag", format_version = 2, patient_id, modality ("ct", "histology",
...), scale_names (array of text), encoder, layer, weights_name, weights_sha256, preprocessing (JSON),
preprocessing_sha256, precision, software (JSON), content_key, created_utc and complete = True; and

    feature_blocks    JSON, list of name, start, stop: which columns of /features describe which part of the image.
                      Blocks MUST follow one another from 0 to d, each with a name of its own. `whole`, `lesion` and `rim` are means of
                      the feature map over the crop, the lesion and the ring around it, of a slab over their volumes; `cls` is the class
                      token; with several layers the name MUST say which, as in `lesion@features.4`. A region that covers nothing
                      of an instance holds the class token, or the mean over the crop where there is none
    reference_hu      JSON, phase -> HU of the liver, or another organ, to which the windows are relative; a phase without one
                      is absent; MAY be empty
    measure_names     array of text (m,), each once; stage 1 writes those of `pipeline.measures`. A measure of a lesion in
                      three dimensions stands on every instance of that /lesion
    measure_units     array of text (m,), such as HU, mm, mm2; "" for a pure number

and, so that STAMP reads the file, feat_type = "tile", extractor, unit = "um", tile_size_um, tile_size_px. It MUST NOT
have stamp_version. A bag of an untrained encoder MUST also have the attribute warning = "RANDOM WEIGHTS".

A bag of CT MUST also have phase_names and phases_present (arrays of text), phases_missing (JSON, phase -> reason) and
sources (JSON, phase -> file, image_sha256, mask_sha256, mask_source, spacing_mm, n_slices), with a source for every phase
of the arrays; a source MAY have n_before_thinning, the number of slices of the region before thinning. In a bag of
another modality these MAY be absent, and so MAY spacing_mm in a source; without phase_names the bag has the single phase "-".

A bag MAY hold radiomics features of its phases. Then it MUST have, for r phases and k features,

    /radiomics        float32 (r, k): a row for each phase that was measured, NaN where a feature is not available; r MAY be 0,
                      k MUST be at least 1
    /radiomics_phase  int8 (r,): index into the attribute phase_names, ascending; each MUST occur in /phase
    radiomics_names   attribute, array of text (k,), each once: region and name of the Image Biomarker Standardisation
                      Initiative (IBSI), as in `lesion.stat_mean`
    radiomics_settings  attribute, JSON: `software`, `version`, and the settings of resampling, intensities and regions

all four or none of them. A reader MAY ignore them.

A bag SHOULD have the attribute bag_sha256, by which a reader tells that arrays or header were changed after they were written: the
SHA-256 of the JSON, keys sorted and without spaces, of {"arrays": {...}, "attributes": {...}}. "arrays" has for each dataset but
/feats the SHA-256 of its values, row by row and little-endian; "attributes" the text, or the list of texts, of patient_id, content_key,
modality, phase_names, phases_missing, scale_names, sources, encoder, layer, weights_name, weights_sha256, precision, preprocessing,
feature_blocks, reference_hu, measure_names, measure_units, radiomics_names and radiomics_settings, without those that the bag lacks.
A reader SHOULD refuse a bag whose bag_sha256 differs. It is no signature.

A bag MUST NOT hold a label: relabelling never needs a new extraction. A reader MUST refuse a file whose format
or version it does not know, or whose attribute patient_id is not its name. It MUST NOT follow links to other files:
of each dataset it reads, the link MUST be a hard link, and the data MUST NOT lie in external or virtual storage.
It MAY ignore attributes and datasets it does not know.

Version 1 had no /measures, /extent_mm, modality, feature_blocks, reference_hu, measure_names and measure_units. A
reader treats it as CT with no measures, no reference and one block `whole` over all features; extent_mm is the slice
spacing of the source of the instance's phase.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.provenance import sha256_of_json

FORMAT = "phasemil-bag"
VERSION = 2
CT = "ct"
HISTOLOGY = "histology"
ONLY_PHASE = "-"
"""The phase of a bag whose modality has none."""
WHOLE = "whole"
RANDOM_PREFIX = "random:"
RANDOM_BANNER = "RANDOM WEIGHTS"
NO_SPACING = (math.nan, math.nan, math.nan)
"""Spacing of a source that has none, such as a histology slide."""

COLUMNS: Mapping[str, type[np.generic]] = {
    "phase": np.int8,
    "slice_index": np.int32,
    "z_mm": np.float32,
    "extent_mm": np.float32,
    "tumour_area_mm2": np.float32,
    "lesion": np.int16,
    "scale": np.int8,
}
"""Datasets of one value per instance."""

PER_PHASE = ("radiomics", "radiomics_phase")
"""Arrays of a row for each measured phase; all others have one for each instance."""

_TO_BE_FILLED: NDArray[np.float32] = np.empty((0, 0), dtype=np.float32)
_N_INT8 = 256


@dataclass(frozen=True)
class Source:
    """The files behind one phase of a bag."""

    file: str
    image_sha256: str
    mask_sha256: str
    mask_source: str
    """`drawn`, or `propagated:<phase>`, or how else the slices were chosen."""
    spacing_mm: tuple[float, float, float]
    """Along x, y, z; NO_SPACING where there is none."""
    n_slices: int
    """Slices of the whole volume."""
    n_before_thinning: int | None = None
    """Slices of the region before thinning by every_mm and at_most; None if not recorded."""


@dataclass(frozen=True)
class Recipe:
    """How slices were turned into features; bags of different recipes must not be mixed."""

    encoder: str
    layer: str
    weights_name: str
    weights_sha256: str
    precision: str
    preprocessing: Mapping[str, Any]
    """Crop, windows, sizes and normalisation, as plain JSON values."""

    @property
    def preprocessing_sha256(self) -> str:
        """SHA-256 of the preprocessing as canonical JSON."""
        return sha256_of_json(self.preprocessing)

    @property
    def has_random_weights(self) -> bool:
        """Whether the features come from an untrained network."""
        return self.weights_name.startswith(RANDOM_PREFIX)

    @property
    def key(self) -> str:
        """Hash of everything that determines the features of a given image and mask."""
        parts = (self.encoder, self.layer, self.weights_sha256, self.precision, self.preprocessing_sha256)
        return sha256_of_json(parts)


@dataclass(frozen=True)
class FeatureBlock:
    """Columns of the features that describe the same part of the image."""

    name: str
    start: int
    stop: int
    """First column after the block."""

    def __str__(self) -> str:
        return f"{self.name} {self.start}:{self.stop}"


@dataclass(frozen=True)
class BagHeader:
    """Everything that a bag records besides its arrays."""

    patient_id: str
    phase_names: tuple[str, ...]
    phases_missing: Mapping[str, str]
    scale_names: tuple[str, ...]
    recipe: Recipe
    sources: Mapping[str, Source]
    content_key: str
    """Hash of the inputs and of the recipe; equal keys mean equal features."""
    tile_size_um: float
    """Side of the tissue square shown to the encoder, in micrometres (STAMP's unit)."""
    tile_size_px: int
    modality: str = CT
    feature_blocks: tuple[FeatureBlock, ...] = ()
    """The parts of the image that the columns of the features describe; by default one block `whole`."""
    reference_hu: Mapping[str, float] = field(default_factory=dict)
    """Phase -> reference HU of the liver."""
    measure_names: tuple[str, ...] = ()
    measure_units: tuple[str, ...] = ()
    radiomics_names: tuple[str, ...] = ()
    radiomics_settings: Mapping[str, Any] = field(default_factory=dict)
    """Software, version and settings, as plain JSON values; empty without radiomics."""

    @property
    def phases_present(self) -> tuple[str, ...]:
        """The phases with a scan, in the order of phase_names."""
        if self.modality != CT and not self.sources:
            return tuple(name for name in self.phase_names if name not in self.phases_missing)
        return tuple(name for name in self.phase_names if name in self.sources)


@dataclass(frozen=True, eq=False)
class Bag:
    """All embedded slices of one patient.

    Attributes:
        header: everything besides the arrays; without feature_blocks it gets one block `whole` over all d.
        features: float32 (n, d).
        phase: int8 (n,), index into header.phase_names.
        slice_index: int32 (n,), 0-based, inferior to superior; of a slab, its middle slice.
        z_mm: float32 (n,).
        tumour_area_mm2: float32 (n,).
        lesion: int16 (n,).
        scale: int8 (n,), index into header.scale_names.
        measures: float32 (n, m), in the order of header.measure_names, NaN where one is not available; m = 0 if
            left out.
        extent_mm: float32 (n,), thickness along z that the instance covers; if left out, the slice spacing of its phase,
            NaN where the phase has none.
        radiomics: float32 (r, k), one row per measured phase, in the order of header.radiomics_names, NaN where a feature is
            not available; r = 0 if left out.
        radiomics_phase: int8 (r,), index into header.phase_names, ascending.
    """

    header: BagHeader
    features: NDArray[np.float32]
    phase: NDArray[np.int8]
    slice_index: NDArray[np.int32]
    z_mm: NDArray[np.float32]
    tumour_area_mm2: NDArray[np.float32]
    lesion: NDArray[np.int16]
    scale: NDArray[np.int8]
    measures: NDArray[np.float32] = field(default_factory=lambda: _TO_BE_FILLED)
    extent_mm: NDArray[np.float32] = field(default_factory=lambda: _TO_BE_FILLED)
    radiomics: NDArray[np.float32] = field(default_factory=lambda: _TO_BE_FILLED)
    radiomics_phase: NDArray[np.int8] = field(default_factory=lambda: np.empty(0, dtype=np.int8))

    def __post_init__(self) -> None:
        # Code that knows no blocks, measures or extents builds bags too; a frozen class is filled in this way only.
        if not self.header.feature_blocks and self.features.ndim == 2:
            whole = (FeatureBlock(WHOLE, 0, self.features.shape[1]),)
            object.__setattr__(self, "header", replace(self.header, feature_blocks=whole))
        if self.measures is _TO_BE_FILLED:
            object.__setattr__(self, "measures", np.empty((len(self.features), 0), dtype=np.float32))
        if self.extent_mm is _TO_BE_FILLED:
            object.__setattr__(self, "extent_mm", _slice_spacing_mm(self.header)[self.phase])
        if self.radiomics is _TO_BE_FILLED:
            none = np.empty((0, len(self.header.radiomics_names)), dtype=np.float32)
            object.__setattr__(self, "radiomics", none)

    @property
    def patient_id(self) -> str:
        """Identifier of the patient, as in the cohort table."""
        return self.header.patient_id

    def __len__(self) -> int:
        return len(self.features)

    def take(self, instances: NDArray[Any]) -> "Bag":
        """Return the bag of the instances that an index or boolean array selects, in its order.

        Radiomics remain of the phases that have an instance left.
        """
        names = [f.name for f in fields(self) if f.name not in ("header", *PER_PHASE)]
        arrays = {name: getattr(self, name)[instances] for name in names}
        is_left = np.isin(self.radiomics_phase, arrays["phase"])
        arrays |= {name: getattr(self, name)[is_left] for name in PER_PHASE}
        return Bag(header=self.header, **arrays)

    def in_phases(self, names: Iterable[str]) -> "Bag":
        """Return the bag of the instances of the named phases; it may be empty."""
        is_wanted = np.zeros(len(self.header.phase_names), dtype=np.bool_)
        is_wanted[[self.header.phase_names.index(name) for name in names]] = True
        return self.take(is_wanted[self.phase])

    def slices_per_phase(self) -> Mapping[str, int]:
        """Count the instances of each phase name."""
        return {name: int(np.sum(self.phase == i)) for i, name in enumerate(self.header.phase_names)}


def _slice_spacing_mm(header: BagHeader) -> NDArray[np.float32]:
    """Return the spacing along z of each phase number, (256,): NaN at numbers, also negative ones, that name no source."""
    spacing = np.full(_N_INT8, np.nan, dtype=np.float32)
    for number, name in enumerate(header.phase_names[: _N_INT8 // 2]):
        if name in header.sources:
            spacing[number] = header.sources[name].spacing_mm[2]
    return spacing
