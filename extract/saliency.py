"""Occlusion maps of the encoder on the slices with most attention, as pictures for the report.

The map shows how far the feature vector turns (1 - cosine) when a square of the image is hidden; it explains the
frozen encoder, not the classifier. The map of the same network with random weights is the control: what both maps
share is due to the image, not to what was learned (Adebayo et al., Sanity checks for saliency maps, 2018).
"""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.stats import spearmanr
from torch import Tensor
from torch.nn import functional

from extract.config import ExtractConfig, find_dims
from extract.encoders import Encoder, load_encoder
from extract.inputs import make_images
from extract.overlays import ATTENTION, read_weights
from pipeline.errors import ConfigError, ResultsError
from pipeline.files import written_whole
from pipeline.slices import PhaseSlices
from pipeline.store import SliceStore

FIGURES = "figures"
HIDDEN_SHARE = 0.25
"""Side of the hidden square as a share of the image; it moves by half its side."""
CONTROL = "random:0"
_STYLE = {"font.size": 9, "svg.fonttype": "none", "svg.hashsalt": "phasemil"}


@dataclass(frozen=True, eq=False)
class Saliency:
    """One slice with its maps.

    Attributes:
        title: phase, slice number and attention.
        image: float32 (height, width) in [0, 1], as the encoder saw it.
        of_encoder: float32 (height, width).
        of_control: the same with random weights.
    """

    title: str
    image: NDArray[np.float32]
    of_encoder: NDArray[np.float32]
    of_control: NDArray[np.float32]

    @property
    def agreement(self) -> float:
        """Spearman correlation of both maps; near 1 the map shows the image, not what was learned."""
        return float(spearmanr(self.of_encoder.ravel(), self.of_control.ravel()).statistic)


def draw_saliency(config: ExtractConfig, patients: Collection[str] = ()) -> list[Path]:
    """Write figures/saliency_<patient>.svg: per phase the slice with most attention and its occlusion maps.

    Args:
        config: of the experiment, with attention.csv and the slice store in its output folder.
        patients: whom to draw; empty for those with a picture of stage 2.

    Raises:
        ConfigError: captum is not installed.
        ResultsError: there is no attention.csv, or nobody to draw.
    """
    folder = config.results_folder / FIGURES
    weights = read_weights(config.results_folder / ATTENTION, None, patients)
    everybody = dict.fromkeys(patient_id for patient_id, _ in weights)
    chosen = [p for p in everybody if patients or any(folder.glob(f"case_*_{_safe(p)}.svg"))]
    if not chosen:
        raise ResultsError(
            f"{folder}: no picture of a patient found; name patients with --patient, or run `aggregate.py explain` first"
        )
    section = config.extract
    if section.card is not None:
        raise ConfigError(
            f"[extract] card = '{section.card.name}': where an encoder looks is drawn of those of `extract.py encoders` only; "
            "name one by `encoder` to have these pictures"
        )
    if find_dims(section) == 3:
        raise ConfigError(
            f"[extract] encoder = '{section.encoder}': where an encoder looks is drawn of those of slices only; read the bags of one "
            "to have these pictures"
        )
    encoders = [
        load_encoder(
            section.encoder, name, layers=section.layers_read, precision="float32", device=section.device
        )
        for name in (section.weights, CONTROL)
    ]
    store = SliceStore(config.store_path)
    paths = []
    for patient_id in chosen:
        found = [
            _of_phase(slices, weights[patient_id, slices.phase], encoders, config)
            for slices in store.read_phases(patient_id, with_planes=True)
            if (patient_id, slices.phase) in weights
        ]
        path = folder / f"saliency_{_safe(patient_id)}.svg"
        _draw(path, patient_id, found)
        paths.append(path)
    return paths


def occlusion_map(encoder: Encoder, image: Tensor) -> NDArray[np.float32]:
    """Return how far the features of an image turn when each place is hidden, float32 (height, width).

    Args:
        encoder: whose features.
        image: float32 (3, height, width) in [0, 1], or (1, height, width) for three equal channels.

    Raises:
        ConfigError: captum is not installed.
    """
    try:
        from captum.attr import Occlusion  # noqa: PLC0415 - an optional dependency
    except ImportError:
        raise ConfigError("occlusion maps need captum; install phasemil[saliency]") from None
    whole = functional.normalize(encoder.embed(image[None]), dim=1)

    def likeness(images: Tensor) -> Tensor:
        return functional.normalize(encoder.embed(images), dim=1) @ whole[0]

    n_channels, _, width = image.shape
    side = max(2, round(HIDDEN_SHARE * width))
    with torch.inference_mode():
        lost = Occlusion(likeness).attribute(
            image[None],
            sliding_window_shapes=(n_channels, side, side),
            strides=(n_channels, side // 2, side // 2),
            baselines=float(image.mean()),
            perturbations_per_eval=encoder.rows,
        )
    found: NDArray[np.float32] = lost[0, 0].cpu().numpy().astype(np.float32)
    return found


def _of_phase(
    slices: PhaseSlices, of_slice: Mapping[int, float], encoders: Sequence[Encoder], config: ExtractConfig
) -> Saliency:
    at = max(range(len(slices)), key=lambda i: of_slice.get(int(slices.slice_index[i]), -1.0))
    index = int(slices.slice_index[at])
    image = make_images(slices, config.extract.input, encoders[0].device)[at].contiguous()
    maps = [occlusion_map(encoder, image) for encoder in encoders]
    title = f"{slices.phase}, slice {index + 1}, attention {of_slice[index]:.2f} x equal weight"
    return Saliency(title, image.mean(dim=0).cpu().numpy(), *maps)


def _draw(path: Path, patient_id: str, found: Sequence[Saliency]) -> None:
    with mpl.rc_context(_STYLE):  # type: ignore[arg-type]
        canvas = Figure(figsize=(9.2, 2.9 * max(1, len(found))), layout="constrained")
        rows = canvas.subplots(max(1, len(found)), 3, squeeze=False)
        for axes, one in zip(rows, found, strict=False):
            names = (one.title, "trained encoder", f"random weights (agreement {one.agreement:.2f})")
            for panel, name, heat in zip(axes, names, (None, one.of_encoder, one.of_control), strict=True):
                panel.imshow(one.image[::2, ::2], cmap="gray", vmin=0, vmax=1, interpolation="none")
                if heat is not None:
                    panel.imshow(heat[::2, ::2], cmap="viridis", alpha=0.5, interpolation="none")
                panel.set_title(name, fontsize=8)
                panel.set_axis_off()
        title = (
            f"{patient_id}: slice with most attention per phase, and how far the features turn when a place is hidden "
            "(yellow: far), for the encoder and for the same network with random weights (control)"
        )
        with written_whole(path) as sibling:
            metadata = {"Date": None, "Creator": None, "Title": title}
            canvas.savefig(sibling, format="svg", metadata=metadata, transparent=True)


def _safe(patient_id: str) -> str:
    return re.sub(r"[^A-Za-z0-9_-]", "_", patient_id)
