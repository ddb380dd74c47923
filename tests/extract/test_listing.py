"""`extract.py encoders`."""

import pytest
import torch

from extract.architectures import ARCHITECTURES
from extract.vision import torchvision_models


def test_the_encoders_are_listed(command):
    code, printed = command("encoders")
    assert code == 0
    assert all(name in printed for name in ARCHITECTURES)


def test_a_file_is_named_with_its_hash_and_what_it_fits(command, tmp_path):
    torch.save(torchvision_models().squeezenet1_0(weights=None).state_dict(), tmp_path / "w.pth")
    code, printed = command("encoders", "--verify", tmp_path / "w.pth")
    assert code == 0
    assert "fits squeezenet1_0 (torchvision keys)" in printed
    assert printed.count("fits ") == 1
    assert "sha256 " in printed


@pytest.mark.parametrize("content", [{"odd": torch.zeros(2)}, [1, 2]], ids=["strange keys", "no state_dict"])
def test_a_file_that_fits_nothing_is_exit_code_2(command, tmp_path, content):
    torch.save(content, tmp_path / "w.pth")
    assert command("encoders", "--verify", tmp_path / "w.pth")[0] == 2
