"""Bags of histology made of the files of other programs in memory: one instance per tile, all slides of a patient together."""

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np

from aggregate.cohort.bag_sets import BagFolder, Phases
from aggregate.cohort.slide_files import UNKNOWN, SlideFile, SlideFormat, read_slide
from pipeline.bags import HISTOLOGY, ONLY_PHASE, WHOLE, Bag, BagHeader, FeatureBlock, Recipe, check_bag
from pipeline.errors import BagError, LeakError
from pipeline.provenance import sha256_of_json

Slides = Mapping[str, tuple[Path, ...]]
"""Patient -> files."""


def slide_headers(slides: Slides, how: SlideFormat) -> dict[str, BagHeader]:
    """Read every slide once and return the header of each patient's bag.

    Raises:
        BagError: a file cannot be read, or two slides differ in encoder, settings, number format or width.
        LeakError: two files hold the same slide.
    """
    headers: dict[str, BagHeader] = {}
    owners: dict[str, tuple[str, Path]] = {}
    first: tuple[Path, SlideFile] | None = None
    for patient_id, paths in slides.items():
        read = [(path, read_slide(path, how)) for path in paths]
        for path, slide in read:
            owner, other = owners.setdefault(slide.sha256, (patient_id, path))
            if other != path:
                raise LeakError(
                    f"patient {patient_id}: {path.name} holds the same features as {other.name} of patient {owner}; take one out"
                )
            first = first or (path, slide)
            _check_alike(*first, path, slide)
        headers[patient_id] = _header(patient_id, [slide for _, slide in read], how)
    return headers


def slide_bag(patient_id: str, paths: Sequence[Path], how: SlideFormat) -> Bag:
    """Return the bag of one patient: the tiles of all slides, in the order of the slides.

    `lesion` is the number of the slide, from 1, and `slice_index` the number of the tile, from 0 over all slides; heights and
    extents are unknown.

    Raises:
        BagError: a file cannot be read, or breaks the specification of a bag.
    """
    read = [read_slide(path, how) for path in paths]
    for path, slide in zip(paths, read, strict=True):
        _check_alike(paths[0], read[0], path, slide)
    features = np.concatenate([slide.features for slide in read])
    n = len(features)
    bag = Bag(
        header=_header(patient_id, read, how),
        features=features,
        phase=np.zeros(n, dtype=np.int8),
        slice_index=np.arange(n, dtype=np.int32),
        z_mm=np.zeros(n, dtype=np.float32),
        tumour_area_mm2=np.zeros(n, dtype=np.float32),
        lesion=np.repeat(np.arange(1, len(read) + 1), [len(s.features) for s in read]).astype(np.int16),
        scale=np.zeros(n, dtype=np.int8),
    )
    check_bag(bag, paths[0])
    return bag


class SlideFolder(BagFolder):
    """The histology bags of some patients, made of their slides on demand.

    Args:
        folder: where the slides lie, for messages.
        slides: patient -> files, of the patients who have any.
        patient_ids: of every patient, in the order of the table.
        how: what wrote the files.
    """

    def __init__(self, folder: Path, slides: Slides, patient_ids: Iterable[str], how: SlideFormat) -> None:
        super().__init__(folder, [(p, (ONLY_PHASE,) if p in slides else ()) for p in patient_ids])
        self.slides = {patient_id: tuple(paths) for patient_id, paths in slides.items()}
        self.how: SlideFormat = how

    def load(self, patient_id: str) -> Bag:
        """Read one bag."""
        return slide_bag(patient_id, self.slides[patient_id], self.how)

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle the paths only; a worker process reads the slides itself."""
        return _open_slides, (self.folder, tuple(self.slides.items()), self.present, self.how)


@lru_cache(maxsize=4)
def _open_slides(
    folder: Path,
    slides: tuple[tuple[str, tuple[Path, ...]], ...],
    present: tuple[tuple[str, Phases], ...],
    how: SlideFormat,
) -> SlideFolder:
    return SlideFolder(folder, dict(slides), [patient_id for patient_id, _ in present], how)


def _header(patient_id: str, slides: Sequence[SlideFile], how: SlideFormat) -> BagHeader:
    first = slides[0]
    named = first.encoder if first.encoder != UNKNOWN else "unknown encoder"
    recipe = Recipe(
        encoder=first.encoder,
        layer=UNKNOWN,
        weights_name=f"{named} ({how} files)",
        weights_sha256="",
        precision=first.precision,
        preprocessing={"format": how, **first.settings},
    )
    return BagHeader(
        patient_id=patient_id,
        phase_names=(ONLY_PHASE,),
        phases_missing={},
        scale_names=("tile",),
        recipe=recipe,
        sources={},
        content_key=sha256_of_json([how, *(slide.sha256 for slide in slides)]),
        tile_size_um=first.number("tile_size_um") or np.nan,
        tile_size_px=int(first.number("tile_size_px") or first.number("patch_size") or 0),
        modality=HISTOLOGY,
        feature_blocks=(FeatureBlock(WHOLE, 0, first.features.shape[1]),),
    )


def _check_alike(path: Path, first: SlideFile, other_path: Path, other: SlideFile) -> None:
    """Refuse slides that one model cannot read together."""
    pairs = {
        "width of the features": (first.features.shape[1], other.features.shape[1]),
        "encoder": (first.encoder, other.encoder),
        "number format": (first.precision, other.precision),
        **{
            key: (first.settings.get(key), other.settings.get(key))
            for key in {**first.settings, **other.settings}
        },
    }
    for what, (a, b) in pairs.items():
        if a != b:
            raise BagError(
                f"{path} and {other_path} differ in {what}: {a} against {b}; features of two encoders or settings are never "
                "mixed: name them as two bag sets, or make them anew"
            )
