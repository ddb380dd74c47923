"""Does stage 1 compute right on this machine? The built-in image through the embedded encoder, beside known numbers."""

from collections.abc import Iterator
from pathlib import Path

import torch

from extract.architectures import ARCHITECTURES
from extract.checkpoints import EMBEDDED, EMBEDDED_FOLDER
from extract.config import EMBEDDED_SIZE_PX
from extract.encoders import load_encoder
from extract.selftest import TOLERANCE, built_in_image, check_precision
from extract.vision import torchvision_models
from extract.weights_description import CARD_SUFFIX, read_card
from pipeline.doctor import Check, check_surroundings, kept_checks
from pipeline.errors import PhasemilError
from pipeline.processor import has_native_bfloat16
from pipeline.provenance import software_versions

_REFERENCE_START = (0.205597, 0.180313, 0.297272, 0.348225, 0.010333, 0.320853, 0.453814, 0.070754)
_REFERENCE_NORM = 11.848403
"""First numbers and length of the feature of the built-in image from squeezenet1_1, embedded weights version 3, in
float64 (torch 2.13 on an AMD EPYC)."""


def checks(folder: Path) -> Iterator[Check]:
    """Yield every check of stage 1."""
    yield from check_surroundings(folder)
    yield _torchvision()
    yield _gpu()
    yield _weights()
    yield from numeric_checks()


def require_right_numbers() -> None:
    """Make the numeric checks once per machine and versions.

    Raises:
        MachineError: one fails.
    """
    kept_checks("extract", {"software": dict(software_versions())}, lambda: list(numeric_checks()))


def numeric_checks() -> Iterator[Check]:
    """Yield the embedded encoder beside known numbers, then each precision that this machine offers beside float32."""
    yield _known_feature()
    precisions = ["float32", *(["bfloat16"] if has_native_bfloat16() else [])]
    places = [("cpu", precision) for precision in precisions]
    if torch.cuda.is_available():
        places += [("cuda", precision) for precision in ("float32", "float16", "bfloat16")]
    for device, precision in places:
        yield _precision(device, precision)


def _known_feature() -> Check:
    encoder = load_encoder("squeezenet1_1", EMBEDDED, precision="float32", device="cpu")
    feature = encoder.embed_plainly(built_in_image(EMBEDDED_SIZE_PX))[0].double()
    known = torch.tensor(_REFERENCE_START, dtype=torch.float64)
    drift = max(
        float((feature[: len(known)] - known).norm() / known.norm()),
        abs(float(feature.norm()) / _REFERENCE_NORM - 1),
    )
    return Check(
        "the built-in image in float32 beside known numbers",
        is_ok=drift <= TOLERANCE["float32"],
        found=f"relative difference {drift:.1e} (at most {TOLERANCE['float32']:.0e})",
        advice="do not trust features of this machine; install another release of torch, and report it",
    )


def _precision(device: str, precision: str) -> Check:
    name = f"the built-in image in {precision} on {device}"
    try:
        encoder = load_encoder("squeezenet1_1", EMBEDDED, precision=precision, device=device)
        drift = check_precision(encoder, EMBEDDED_SIZE_PX)
    except PhasemilError as error:
        return Check(name, is_ok=False, found=str(error), advice="choose another [extract] precision")
    return Check(
        name, is_ok=True, found=f"relative difference {drift:.1e} (at most {TOLERANCE[precision]:g})"
    )


def _torchvision() -> Check:
    try:
        torchvision_models()
    except (ImportError, RuntimeError) as error:
        first = str(error).partition("\n")[0]
        return Check(
            "import of torchvision", is_ok=False, found=first, advice="install the torchvision of this torch"
        )
    return Check("import of torchvision", is_ok=True, found="works")


def _gpu() -> Check:
    if not torch.cuda.is_available():
        return Check("GPU", is_ok=True, found="none; stage 1 runs on the CPU")
    properties = torch.cuda.get_device_properties(0)
    return Check("GPU", is_ok=True, found=f"{properties.name}, {properties.total_memory / 2**30:.0f} GiB")


def _weights() -> Check:
    embedded = sorted(read_card(card).architecture for card in EMBEDDED_FOLDER.glob(f"*{CARD_SUFFIX}"))
    cache = Path(torch.hub.get_dir()) / "checkpoints"
    downloaded = sorted(path.name for path in cache.glob("*.pth")) if cache.is_dir() else []
    return Check(
        "weights at hand",
        is_ok=bool(embedded),
        found=f"embedded: {', '.join(embedded) or 'none'}; in torchvision's cache: {', '.join(downloaded) or 'none'}",
        advice=f"install phasemil again: extract/weights lacks the embedded encoder, one of {len(ARCHITECTURES)}",
    )
