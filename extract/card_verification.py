"""The command `extract.py encoders --verify CARD`: what a card gives for its reference input, beside its reference vector."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from torch import Tensor

from extract.card_input import prepared
from extract.doors.opening import open_network
from extract.doors.reading import CardNetwork
from extract.encoder_cards import CardReference, EncoderCard, check_weights, read_encoder_card
from extract.encoders import PRECISIONS, exact_kernels
from extract.feature_maps import FeatureMap
from extract.region_masks import coverage, draw_regions
from extract.region_pooling import drawn_regions, grids, pooled
from extract.selftest import TOLERANCE
from pipeline.errors import WeightsError

_RIM_PX = 10.0
"""Width of the ring of a reference mask, which has pixels and no spacing."""


def verify_card(path: Path, console: Console) -> None:
    """Say what a card is, and compare its reference vector with what its network gives here.

    Raises:
        ConfigError: the card cannot be read.
        WeightsError: weights, network or vector are not what the card says, or it states no reference.
    """
    card = read_encoder_card(path)
    lines = [f"{path}: {card.name}, door {card.door} {card.network}".rstrip(), f"licence: {card.licence}"]
    lines += [f"cite: {card.citation}"] + ([f"note: {' '.join(card.traps.split())}"] if card.traps else [])
    console.print("\n".join(lines), markup=False, highlight=False, soft_wrap=True)
    found = check_weights(card, path)
    network = open_network(card)
    console.print(f"sha256 {found}: every key fits", markup=False, highlight=False, soft_wrap=True)
    if card.reference is None:
        raise WeightsError(
            f"card {path}: expected [reference] with input and vector, found none; nothing proves window, orientation and "
            "scaling: embed one slice with the authors' own code and put both beside the card (docs/encoders.md)"
        )
    for precision in card.output.precisions:
        told = _told(card, card.reference, network, path, precision)
        console.print(told, markup=False, highlight=False, soft_wrap=True)


def _told(
    card: EncoderCard, reference: CardReference, network: CardNetwork, path: Path, precision: str
) -> str:
    place = "cpu"
    if precision == "float16":  # a CPU emulates it, and a run refuses it there, too
        if not torch.cuda.is_available():
            return f"{precision}: not tried, this machine has no CUDA device"
        place = "cuda"
        network = open_network(card, place)
    distance = check_reference(card, reference, network, path, precision=precision, place=place)
    return f"{precision}: relative distance {distance:.2g} from the reference vector"


def check_reference(
    card: EncoderCard,
    reference: CardReference,
    network: CardNetwork,
    path: Path,
    *,
    precision: str = "float32",
    place: torch.device | str = "cpu",
) -> float:
    """Compare what a network gives for the reference input with the reference vector.

    Args:
        card: of the network.
        reference: of the card.
        network: on `place`.
        path: where the card lies, for messages.
        precision: of the forward pass.
        place: a device.

    Returns:
        the relative distance.

    Raises:
        WeightsError: it is larger than the card, or the precision, allows; or a file of the reference cannot be used.
    """
    expected = torch.from_numpy(_array(reference.vector, path)).flatten()
    found = _embedded(card, reference, path, network, precision, torch.device(place))
    if len(found) != len(expected):
        raise _refused(path, reference.vector, f"a vector of {len(found)}", f"{len(expected)} numbers")
    distance = float((found - expected).norm() / expected.norm())
    allowed = max(reference.tolerance, TOLERANCE[precision] if precision != "float32" else 0.0)
    if not distance <= allowed:
        raise WeightsError(
            f"card {path}: {card.file}: expected in {precision} a vector within {allowed:g} of {reference.vector.name}, found it "
            f"{distance:.3g} away (first numbers {_first(expected)}, found {_first(found)}); "
            + (
                f"take {precision} from output.precisions"
                if precision != "float32"
                else "a step of [input] or [output] is not that of the vector's code"
            )
        )
    return distance


@torch.inference_mode()
def _embedded(  # noqa: PLR0917 - one place that calls it
    card: EncoderCard,
    reference: CardReference,
    path: Path,
    network: CardNetwork,
    precision: str,
    place: torch.device,
) -> Tensor:
    """Return float32 (d,): the regions of the card, of its reference input."""
    hu = _array(reference.input, path)
    if hu.ndim != card.input.dims:
        raise _refused(path, reference.input, f"{card.input.dims} axes", str(hu.shape))
    inputs = prepared(torch.from_numpy(hu)[None, None].to(place), card.input)
    dtype = PRECISIONS[precision]
    with exact_kernels(), torch.autocast(place.type, dtype=dtype, enabled=dtype != torch.float32):
        maps = network(inputs)
    shares = _coverage(card, reference, maps, hu.shape, path)
    return pooled(maps, card.output.regions, None if shares is None else shares.to(place))[0].cpu()


def _coverage(
    card: EncoderCard,
    reference: CardReference,
    maps: tuple[FeatureMap, ...],
    shape: tuple[int, ...],
    path: Path,
) -> Tensor | None:
    regions = drawn_regions(card.output.regions)
    if not regions:
        return None
    if reference.mask is None:
        raise _refused(path, reference.input, f"[reference] mask for the region {regions[0]}", "none")
    mask: NDArray[np.bool_] = np.greater(_array(reference.mask, path), 0)
    if mask.shape != shape:
        raise _refused(path, reference.mask, f"the shape of the input, {shape}", str(mask.shape))
    drawn = draw_regions(mask[None], (1.0,) * mask.ndim, regions, _RIM_PX)
    return coverage(torch.from_numpy(drawn), grids(maps))


def _array(file: Path, path: Path) -> NDArray[np.float32]:
    try:
        array: NDArray[np.float32] = np.load(file, allow_pickle=False).astype(np.float32)
    except (OSError, ValueError, EOFError) as error:
        raise _refused(
            path, file, "an array written by numpy.save", f"{type(error).__name__}: {error}"
        ) from error
    return array


def _refused(path: Path, file: Path, expected: str, found: str) -> WeightsError:
    return WeightsError(
        f"card {path}: {file}: expected {expected}, found {found}; correct [reference] or that file"
    )


def _first(vector: Tensor) -> str:
    return ", ".join(f"{value:.4g}" for value in vector[:3].tolist())
