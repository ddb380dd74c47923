"""Layout `nnunet`: a data set of nnU-Net, imagesTr/CASE_0000.nii.gz with one channel per phase, labelsTr/CASE.nii.gz, dataset.json.

A case is a patient. The labels of the two versions of dataset.json are read (name -> number, and number -> name).
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from extract.importers.found import Entry, Import, ScanRow, not_used, to_set
from extract.importers.layout import ImportRequest, Layout, LayoutSettings
from extract.importers.volume_files import stem_of, suffix_of, volumes_in
from pipeline.errors import CohortError, Mistakes
from pipeline.names import folded

_CHANNEL = re.compile(r"(.+)_(\d{4})")
_TUMOURS = {"tumor", "tumour", "tumors", "tumours", "lesion", "lesions", "hcc", "cancer"}
_ORGANS = {"liver", "organ"}
_NAMES_OF_A_CT = {"ct", "cect"}
_ORGAN_KEY = "extract.masks.labels.organ"


class NnunetSettings(LayoutSettings):
    """Settings of the layout nnunet."""

    tumour: str = ""
    """Name of the label that is the tumour; by default the only one, or the one that is called tumour or lesion."""
    organ: str = ""
    """Name of the label that is the organ; by default the one that is called liver."""


@dataclass(frozen=True)
class _Labels:
    """Which numbers in labelsTr are the tumour and the organ."""

    tumour: tuple[int, ...]
    organ: tuple[int, ...] = ()
    source: str = ""
    source_of_organ: str = ""
    n_labels: int = 1


def find(request: ImportRequest, settings: NnunetSettings) -> Import:
    """Find cases with their channels and labels."""
    path = request.folder / "dataset.json"
    content = _read(path)
    mistakes = Mistakes()
    phases, labels = dict[str, str](), _Labels(())
    images = _images(request)
    with mistakes.gathered():
        phases = _phases(content, images, request)
    with mistakes.gathered():
        labels = _labels(content, settings)
    mistakes.raise_all()
    masks = {stem_of(p): p for p in volumes_in(request.files) if p.parent == request.folder / "labelsTr"}
    rows = tuple(_rows(images, masks, phases, labels, request))
    entries = [
        Entry("read for channels and labels", source="the layout", file=request.named(path)),
        Entry(f"tumour: label {_text(labels.tumour)} of labelsTr", source=labels.source),
        *(
            Entry(f"channel {channel} is {phase}", source=_ground(content, channel, request))
            for channel, phase in phases.items()
        ),
        *_unused(images, masks, request),
    ]
    if labels.organ:
        entries.append(to_set(_ORGAN_KEY, str(list(labels.organ)), labels.source_of_organ))
    return Import(rows, tuple(entries))


def _read(path: Path) -> Mapping[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CohortError(f"{path}: no such file; a data set of nnU-Net has one") from None
    except (OSError, ValueError) as error:
        raise CohortError(f"{path}: expected JSON, found: {error}") from error
    if not isinstance(content, dict) or not isinstance(content.get("labels"), dict):
        raise CohortError(f"{path}: expected a table `labels`, found none")
    return content


def _images(request: ImportRequest) -> dict[tuple[str, str], Path]:
    """Return (case, channel) -> image of imagesTr."""
    folder, found = request.folder / "imagesTr", {}
    for path in volumes_in(request.files):
        named = _CHANNEL.fullmatch(stem_of(path))
        if path.parent == folder and named:
            found[named[1], named[2]] = path
    return found


def _ground(content: Mapping[str, Any], channel: str, request: ImportRequest) -> str:
    key = "channel_names" if "channel_names" in content else "modality"
    name = str(content.get(key, {}).get(str(int(channel)), ""))
    of_name = request.spellings.ground(name, f"dataset.json, {key}") if name else ""
    return request.spellings.ground(channel, of_name)


def _phases(
    content: Mapping[str, Any], images: Mapping[tuple[str, str], Path], request: ImportRequest
) -> dict[str, str]:
    """Return channel -> phase.

    Raises:
        CohortError: a channel is called by no phase, such as CT, and the command does not say which it is.
    """
    names = content.get("channel_names") or content.get("modality") or {}
    spellings, mistakes, found = request.spellings, Mistakes(), dict[str, str]()
    for channel in sorted({channel for _, channel in images}):
        name = str(names.get(str(int(channel)), ""))
        text = channel if spellings.ground(channel, "") else "" if folded(name) in _NAMES_OF_A_CT else name
        phase = None
        try:
            phase = spellings.phase(text) if text else None
        except CohortError as error:
            mistakes.add(error)
            continue
        if phase is None:
            told = f"called {name!r}" if name else "without a name"
            mistakes.add(
                CohortError(
                    f"dataset.json: channel {channel} is {told}, which is no phase; say which: "
                    f'--phase "{channel}=NAME"'
                )
            )
        found[channel] = phase or ""
    mistakes.raise_all()
    return found


def _labels(content: Mapping[str, Any], settings: NnunetSettings) -> _Labels:
    """Return which numbers are the tumour and the organ.

    Raises:
        CohortError: the names do not tell.
    """
    by_name = _by_name(content["labels"])
    told = ", ".join(f"{name} ({_text(numbers)})" for name, numbers in by_name.items())
    found = {}
    for what, given, known in (("tumour", settings.tumour, _TUMOURS), ("organ", settings.organ, _ORGANS)):
        if given and given not in by_name:
            raise CohortError(f"{what}={given}: dataset.json has the labels {told}")
        alike = [name for name in by_name if name == given or (not given and folded(name) in known)]
        found[what] = alike[0] if len(alike) == 1 else ""
    tumour = found["tumour"] or (next(iter(by_name)) if len(by_name) == 1 else "")
    if not tumour:
        raise CohortError(f"dataset.json has the labels {told}; say which is the tumour: tumour=NAME")
    of_tumour, of_organ = (
        "the command" if given else f"dataset.json calls it {name!r}"
        for given, name in ((settings.tumour, tumour), (settings.organ, found["organ"]))
    )
    return _Labels(by_name[tumour], by_name.get(found["organ"], ()), of_tumour, of_organ, len(by_name))


def _by_name(labels: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """Return name -> numbers without the background; a region of version 2 has several numbers."""
    found = {}
    for key, value in labels.items():
        name, numbers = (str(value), key) if str(key).isdecimal() else (key, value)
        whole = tuple(int(number) for number in (numbers if isinstance(numbers, list) else [numbers]))
        if whole != (0,) and name != "ignore":
            found[name] = whole
    return found


def _rows(
    images: Mapping[tuple[str, str], Path],
    masks: Mapping[str, Path],
    phases: Mapping[str, str],
    labels: _Labels,
    request: ImportRequest,
) -> Iterator[ScanRow]:
    """Yield a row for each channel; the labels of a case were drawn on the grid that all its channels share."""
    for (case, channel), image in images.items():
        mask = masks.get(case)
        yield ScanRow(
            request.spellings.patient(case),
            phases[channel],
            image,
            mask,
            liver_mask=mask if labels.organ else None,
            mask_label=_text(labels.tumour) if mask and labels.n_labels > 1 else "",
        )


def _unused(
    images: Mapping[tuple[str, str], Path], masks: Mapping[str, Path], request: ImportRequest
) -> list[Entry]:
    cases = {case for case, _ in images}
    found = [
        not_used(request.named(path), "no image of this case in imagesTr") for case, path in masks.items() if case not in cases
    ]  # fmt: skip
    for path in volumes_in(request.files):
        if path.parent.name in ("imagesTs", "labelsTs"):
            found.append(
                not_used(request.named(path), "a test case of the challenge; move it to imagesTr to use it")
            )
        elif path.parent == request.folder / "imagesTr" and path not in images.values():
            found.append(
                not_used(
                    request.named(path), f"expected CASE_0000{suffix_of(path)}, with a channel of four digits"
                )
            )
    return found


def _text(numbers: tuple[int, ...]) -> str:
    return " ".join(map(str, numbers))


LAYOUT = Layout(
    "nnunet",
    "a data set of nnU-Net: imagesTr/CASE_0000.nii.gz, labelsTr/CASE.nii.gz, dataset.json",
    NnunetSettings,
    find,
)
