"""`aggregate.py doctor`, and what `run` does where the numbers are wrong."""

import pytest
import torch
from typer.testing import CliRunner

from aggregate import doctor
from aggregate.commands import application
from aggregate.models.attention_mil import AttentionMIL
from pipeline.errors import MachineError


@pytest.fixture
def scrambled(monkeypatch):
    """The defect that once trained every attention model on noise: a gradient read in transposed order."""
    build = AttentionMIL.new_network

    def new_network(self, shape):
        network = build(self, shape)
        weight = network.embed[0].weight
        weight.register_hook(lambda gradient: gradient.T.contiguous().view(gradient.shape))
        return network

    monkeypatch.setattr(AttentionMIL, "new_network", new_network)


def run(*words):
    return CliRunner().invoke(application, ["doctor", *words], catch_exceptions=False)


def test_a_sound_machine_is_all_ok_with_one_line_a_check(tmp_path):
    ended = run(str(tmp_path))
    assert ended.exit_code == 0, ended.output
    lines = ended.output.strip().splitlines()
    assert lines[-1] == "all ok"
    assert all(line.startswith("ok ") for line in lines[:-1])
    for word in ("Python", "torch and torchvision", "processor", "threads", "GPU", "write access", "free space",
                 "locale", "terminal", "a fit in float32 on cpu beside a loop"):  # fmt: skip
        assert sum(line.startswith(f"ok   {word}") for line in lines) == 1, word


def test_scrambled_gradients_are_exit_code_1_with_what_to_do(scrambled, tmp_path):
    ended = run(str(tmp_path))
    assert ended.exit_code == 1
    (line,) = [line for line in ended.output.splitlines() if line.startswith("NOT") and "float32" in line]
    assert "do not trust attention models trained on this machine" in line


def test_a_run_stops_where_the_numbers_are_wrong(scrambled, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(MachineError, match="this machine computes wrong numbers"):
        doctor.require_right_numbers()
    assert list(tmp_path.rglob("doctor-*")) == []


def test_the_numbers_are_checked_once_per_machine_and_path(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    counted = []
    monkeypatch.setattr(doctor, "numeric_checks", lambda: counted.append(1) or [])
    doctor.require_right_numbers()
    doctor.require_right_numbers()
    assert len(counted) == 1
    monkeypatch.setenv("ATEN_CPU_CAPABILITY", "default")
    doctor.require_right_numbers()
    assert len(counted) == 2


def test_a_user_without_a_folder_for_caches_is_checked_every_time(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    counted = []
    monkeypatch.setattr(doctor, "numeric_checks", lambda: counted.append(1) or [])
    doctor.require_right_numbers()
    doctor.require_right_numbers()
    assert len(counted) == 2


def test_the_check_leaves_the_random_numbers_alone():
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    list(doctor.numeric_checks())
    assert torch.equal(torch.rand(2), expected)
