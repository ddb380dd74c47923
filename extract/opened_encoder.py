"""The encoder of a bag set, loaded and tested, with what its bags will say of it."""

from collections.abc import Iterable
from dataclasses import dataclass

from rich.console import Console

from extract.card_encoder import doubt, encoder_of
from extract.config import ExtractSection
from extract.encoders import Encoder, Readout
from extract.inputs import preprocessing, regions_left_out
from extract.selftest import check_precision
from extract.variants import Variant
from pipeline.bags import RANDOM_BANNER, Recipe
from pipeline.errors import ConfigError, Mistakes, WeightsError
from pipeline.run_log import say


@dataclass(frozen=True, eq=False)
class OpenedEncoder:
    """An encoder, what is read of it, and the recipe of the bags."""

    encoder: Encoder
    readout: Readout
    recipe: Recipe


def open_encoder(section: ExtractSection, console: Console) -> OpenedEncoder:
    """Load the encoder of a configuration, test it, and print what must be known of its features.

    Raises:
        ConfigError: the encoder, a layer, a region or the device does not exist.
        WeightsError: the weights do not fit, or the precision is too coarse.
    """
    encoder = encoder_of(section)
    size_px, n_planes = section.input.size_px, section.input.slab_planes
    readout = encoder.readout(size_px, n_planes)
    check_precision(encoder, size_px, n_planes)
    recipe = encoder.recipe(preprocessing(section, readout.regions, encoder.dims))
    if recipe.has_random_weights:
        say(
            console,
            f"{RANDOM_BANNER}: the features of {recipe.weights_name} are meaningless",
            style="bold red",
        )
    for line in filter(None, (doubt(encoder), regions_left_out(section, readout))):
        say(console, line)
    return OpenedEncoder(encoder, readout, recipe)


def check_encoders(variants: Iterable[Variant]) -> None:
    """Load the encoder of each variant once, so that the last does not fail after hours of the others.

    None is kept: together they may not fit on the device.

    Raises:
        ConfigError: an encoder cannot be used; all mistakes are listed at once.
    """
    mistakes, silent = Mistakes(), Console(quiet=True)
    for variant in variants:
        with mistakes.gathered(f"extract.variant.{variant.name}: "):
            try:
                open_encoder(variant.config.extract, silent)
            except WeightsError as error:
                raise ConfigError(str(error)) from error
    mistakes.raise_all()
