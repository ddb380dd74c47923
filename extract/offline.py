"""Libraries that could fetch weights, imported so that they cannot."""

import os
from importlib import import_module
from types import ModuleType

from extract.vision import torchvision_models
from pipeline.errors import ConfigError


def offline_library(name: str, *, extra: str) -> ModuleType:
    """Import a library of an extra, with the network of the hub switched off before it is read.

    Raises:
        ConfigError: it is not installed.
    """
    os.environ["HF_HUB_OFFLINE"] = "1"
    torchvision_models()  # both import torchvision, which may have to be mended first
    try:
        library = import_module(name)
    except ImportError as error:
        raise ConfigError(
            f"this encoder needs {name}, found: {error}; install it with `pip install 'phasemil[{extra}]'`"
        ) from error
    return library
