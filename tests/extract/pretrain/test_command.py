from pathlib import Path

import pytest

from extract.pretrain.settings import PretrainConfig
from pipeline.config import load_config
from pipeline.errors import ConfigError

CONFIG = Path(__file__).resolve().parents[3] / "configs" / "pretrain.toml"


def test_the_committed_configuration_is_valid():
    config = load_config(CONFIG, PretrainConfig)
    assert config.objective.formula > 0


def test_an_unknown_key_is_refused_by_name():
    with pytest.raises(ConfigError, match=r"'objective\.formular'; nearest valid key: 'formula'"):
        load_config(CONFIG, PretrainConfig, overrides=["objective.formular=1"])
