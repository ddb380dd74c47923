"""Configurations: unknown keys are named with the nearest valid one; paths hang on the file."""

import pytest

from pipeline.config import ConfigPath, ExperimentConfig, Section, load_config
from pipeline.errors import ConfigError


class Inner(Section):
    folds: int = 5
    repeats: int = 1


class Outer(Section):
    data: ConfigPath | None = None
    inner: Inner = Inner()


def config(tmp_path, text: str, *overrides: str) -> Outer:
    path = tmp_path / "c.toml"
    path.write_text(text)
    return load_config(path, Outer, overrides=overrides)


def test_an_unknown_key_is_named_with_the_nearest_valid_one(tmp_path):
    with pytest.raises(ConfigError, match=r"c.toml: unknown key 'inner.fold'; nearest valid key: 'folds'"):
        config(tmp_path, "[inner]\nfold = 3")


def test_an_unknown_key_near_nothing_lists_the_valid_ones(tmp_path):
    with pytest.raises(ConfigError, match="unknown key 'zzz'; valid keys: data, inner"):
        config(tmp_path, "zzz = 3")


def test_a_wrong_value_is_shown(tmp_path):
    with pytest.raises(ConfigError, match=r'inner.folds: .*; found "many"'):
        config(tmp_path, '[inner]\nfolds = "many"')


def test_paths_are_relative_to_the_file(tmp_path):
    assert config(tmp_path, 'data = "../x.csv"').data == tmp_path.parent / "x.csv"


def test_overrides_win_over_the_file(tmp_path):
    assert config(tmp_path, "[inner]\nfolds = 3", "inner.folds=4", "inner.repeats=2").inner == Inner(
        folds=4, repeats=2
    )


def test_an_override_with_an_unknown_key_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="nearest valid key: 'repeats'"):
        config(tmp_path, "", "inner.repeat=2")


def test_what_is_no_toml_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="not a TOML file"):
        config(tmp_path, "a = = 1")


def test_a_missing_file_is_one_line(tmp_path):
    with pytest.raises(ConfigError, match="no such configuration file"):
        load_config(tmp_path / "c.toml", Outer)


def test_an_experiment_names_its_folders(tmp_path):
    path = tmp_path / "e.toml"
    path.write_text('name = "e"\noutput = "out"\n[cohort]\ntable = "cohort.csv"\n')
    experiment = load_config(path, ExperimentConfig)
    assert experiment.bags_folder == tmp_path / "out" / "bags"
