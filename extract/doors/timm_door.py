"""The door `timm`: a network of timm by its name, with weights of a local safetensors file."""

import sys
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from extract.doors.reading import MapMaker, Opened, Tokens, check_fit, layers_read, unlike
from extract.encoder_cards import EncoderCard
from extract.offline import offline_library


def open_timm(card: EncoderCard) -> Opened:
    """Build the network that a card names and load its weights, every key of which must fit.

    Raises:
        ConfigError: timm is not installed, or does not know the network.
        WeightsError: the weights do not fit.
    """
    timm = offline_library("timm", extra="encoders")
    if not timm.is_model(card.network):
        raise unlike(card, "a network of timm", repr(card.network))
    network = _built(timm, card)
    try:
        given: Mapping[str, Tensor] = load_file(card.file)
    except SafetensorError as error:
        raise unlike(card, "a file of safetensors", str(error)) from error
    translated = getattr(sys.modules[type(network).__module__], "checkpoint_filter_fn", None)
    if translated is not None:  # timm's own reading of the spellings that these networks are published in
        try:
            given = translated(dict(given), network)
        except (AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError) as error:
            found = f"a tensor that timm cannot read: {' '.join(str(error).split())[:200]}"
            raise unlike(card, f"the keys of {card.network}", found) from error
    given = _without_head(given, network)
    check_fit(card, network.state_dict(), given)
    network.load_state_dict(given)
    maker = MapMaker(card, _tokens(network), _is_channels_last(network), _after_mean(network))
    return Opened(network, layers_read(network, maker, network.forward_features))


def _built(timm: ModuleType, card: EncoderCard) -> Any:  # noqa: ANN401 - timm's networks share no class
    chosen: dict[str, Any] = {"in_chans": card.input.channels, "num_classes": 0}
    if timm.get_pretrained_cfg(card.network).fixed_input_size:
        chosen["img_size"] = card.input.size
    return timm.create_model(card.network, pretrained=False, **chosen)


def _without_head(given: Mapping[str, Tensor], network: Any) -> Mapping[str, Tensor]:  # noqa: ANN401
    names = network.default_cfg.get("classifier") or ()
    prefixes = tuple(f"{name}." for name in ((names,) if isinstance(names, str) else names))
    return {key: value for key, value in given.items() if not (prefixes and key.startswith(prefixes))}


def _tokens(network: Any) -> Tokens | None:  # noqa: ANN401
    if not hasattr(network, "num_prefix_tokens"):
        return None
    rows, columns = network.patch_embed.patch_size
    return Tokens((rows, columns), network.num_prefix_tokens)


def _is_channels_last(network: Any) -> bool:  # noqa: ANN401
    return str(getattr(network, "output_fmt", "NCHW")).endswith("NHWC")


def _after_mean(network: Any) -> Callable[[Tensor], Tensor] | None:  # noqa: ANN401
    """Return the normalisation that follows the mean, where the network has one; a wider layer there is left out."""
    if _tokens(network) is not None:
        norm = getattr(network, "fc_norm", None)
        return None if norm is None or isinstance(norm, nn.Identity) else norm
    if getattr(network, "head_hidden_size", None) != network.num_features:
        return None
    shape = (1, 1, -1) if _is_channels_last(network) else (-1, 1, 1)
    return lambda means: network.forward_head(means.reshape(len(means), *shape), pre_logits=True)
