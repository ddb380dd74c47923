"""`extract.py doctor`: the embedded encoder beside known numbers, in every precision."""

from typer.testing import CliRunner

from extract import doctor
from extract.commands import application


def run(*words):
    return CliRunner().invoke(application, ["doctor", *words], catch_exceptions=False)


def test_a_sound_machine_is_all_ok(tmp_path):
    ended = run(str(tmp_path))
    assert ended.exit_code == 0, ended.output
    for words in ("import of torchvision: works", "weights at hand: embedded: squeezenet1_1",
                  "built-in image in float32 against known numbers", "the built-in image in float32 on cpu"):  # fmt: skip
        assert f"ok   {words}" in ended.output


def test_other_features_than_the_known_ones_are_exit_code_1(tmp_path, monkeypatch):
    monkeypatch.setattr(doctor, "_REFERENCE_NORM", doctor._REFERENCE_NORM * 1.01)
    ended = run(str(tmp_path))
    assert ended.exit_code == 1
    assert "NOT  built-in image in float32 against known numbers" in ended.output
    assert "do not trust features of this machine" in ended.output
