"""The door `huggingface`: a local folder with config.json and model.safetensors; no code of the folder is run."""

import json
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor

from extract.doors.reading import MapMaker, Opened, Tokens, layers_read, refuse_keys, unlike
from extract.encoder_cards import EncoderCard
from extract.offline import offline_library

NETWORKS = {
    "Dinov2Model": ("dinov2",),
    "Dinov2WithRegistersModel": ("dinov2_with_registers",),
    "DINOv3ViTModel": ("dinov3_vit",),
    "SiglipVisionModel": ("siglip", "siglip_vision_model"),
}
"""Classes of transformers, with what config.json calls them; each gives tokens, patch after patch, as `last_hidden_state`."""
_OF_THE_TEXTS = ("text_model.", "logit_scale", "logit_bias")
"""Keys of SigLIP's other half."""


def open_folder(card: EncoderCard) -> Opened:
    """Build the network of a folder and load its weights, every key of which must fit.

    Raises:
        ConfigError: transformers is not installed.
        WeightsError: the folder is of another network, or its weights do not fit.
    """
    if card.network not in NETWORKS:
        raise unlike(card, f"one of {', '.join(NETWORKS)}", repr(card.network))
    transformers = offline_library("transformers", extra="encoders")
    found = _model_type(card)
    if found not in NETWORKS[card.network]:
        raise unlike(card, f"model_type {' or '.join(NETWORKS[card.network])} in config.json", repr(found))
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    try:
        network, told = getattr(transformers, card.network).from_pretrained(
            str(card.file),
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            dtype=torch.float32,
            output_loading_info=True,
        )
    except (OSError, RuntimeError, ValueError, SafetensorError) as error:
        raise unlike(card, f"weights of {card.network}", " ".join(str(error).split())[:300]) from error
    unexpected = [key for key in told["unexpected_keys"] if not key.startswith(_OF_THE_TEXTS)]
    refuse_keys(card, told["missing_keys"], unexpected)
    maker = MapMaker(card, _tokens(card, network.config))
    return Opened(network, layers_read(network, maker, lambda inputs: _last(network, inputs)))


def _model_type(card: EncoderCard) -> str:
    path = card.file / "config.json"
    try:
        return str(json.loads(path.read_text(encoding="utf-8"))["model_type"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise unlike(card, "config.json with a model_type", f"{type(error).__name__}: {error}") from error


def _last(network: Any, inputs: Tensor) -> Tensor:  # noqa: ANN401 - a class of a library without types
    values: Tensor = network(pixel_values=inputs).last_hidden_state
    return values


def _tokens(card: EncoderCard, config: Any) -> Tokens:  # noqa: ANN401
    size = config.patch_size
    rows, columns = (size, size) if isinstance(size, int) else size
    n_class = 0 if card.network == "SiglipVisionModel" else 1
    return Tokens((rows, columns), n_class + getattr(config, "num_register_tokens", 0))
