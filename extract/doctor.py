"""Checks of the machine for stage 1: features of a built-in image are compared with known numbers."""

from collections.abc import Callable, Iterator
from functools import partial
from operator import ge
from pathlib import Path

import torch

from extract.architectures import ARCHITECTURES
from extract.checkpoints import EMBEDDED, EMBEDDED_FOLDER
from extract.config import EMBEDDED_SIZE_PX
from extract.encoders import load_encoder
from extract.selftest import TOLERANCE, built_in_image, check_precision
from extract.vision import torchvision_models
from extract.weights_description import CARD_SUFFIX, read_card
from pipeline.doctor import Check, check_gpu, check_surroundings, kept_checks, tried
from pipeline.processor import has_native_bfloat16
from pipeline.provenance import sha256_of_file, software_versions

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
    """Run the numeric checks once per machine and versions.

    Raises:
        MachineError: one fails.
    """
    weights = [sha256_of_file(path) for path in sorted(EMBEDDED_FOLDER.glob("*.safetensors"))]
    what = {"software": dict(software_versions()), "weights": weights, "gpu": _gpu().found}
    kept_checks("extract", what, lambda: list(numeric_checks()))


def numeric_checks() -> Iterator[Check]:
    """Yield the comparison of the embedded encoder with known numbers, then of each precision with float32."""
    places = [("cpu", "float32"), *([("cpu", "bfloat16")] if has_native_bfloat16() else [])]
    if torch.cuda.is_available():
        places += [("cuda", precision) for precision in ("float32", "float16", "bfloat16")]
    measures: list[tuple[str, str, Callable[[], float]]] = [
        ("built-in image in float32 against known numbers", "float32", _known_feature)
    ]
    measures += [
        (
            f"the built-in image in {precision} on {device}",
            precision,
            partial(_beside_float32, device, precision),
        )
        for device, precision in places
    ]
    for name, precision, measure in measures:
        yield tried(
            name,
            measure,
            partial(ge, TOLERANCE[precision]),
            f"relative difference {{:.1e}} (at most {TOLERANCE[precision]:g})",
            "do not trust features of this machine; install another release of torch, and report it",
        )


def _known_feature() -> float:
    """Return the relative difference between the feature of the built-in image and the known numbers."""
    encoder = load_encoder("squeezenet1_1", EMBEDDED, precision="float32", device="cpu")
    feature = encoder.embed_plainly(built_in_image(EMBEDDED_SIZE_PX))[0].double()
    known = torch.tensor(_REFERENCE_START, dtype=torch.float64)
    return max(
        float((feature[: len(known)] - known).norm() / known.norm()),
        abs(float(feature.norm()) / _REFERENCE_NORM - 1),
    )


def _beside_float32(device: str, precision: str) -> float:
    """Return the relative difference between the feature in a precision and in float32."""
    encoder = load_encoder("squeezenet1_1", EMBEDDED, precision=precision, device=device)
    return check_precision(encoder, EMBEDDED_SIZE_PX)


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
        return check_gpu("", 0)
    properties = torch.cuda.get_device_properties(0)
    return check_gpu(properties.name, properties.total_memory)


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
