"""A .pt2 file that could run code is refused before anything in it is read."""

import io
import json
import pickle
import zipfile

import pytest
import torch
from torch import nn

from pipeline.errors import WeightsError


class Evil:
    def __reduce__(self):
        return exec, ("raise SystemExit('this ran')",)


@pytest.fixture
def program(desk):
    example = torch.zeros(2, 3, 32, 32)
    network = nn.Sequential(nn.Conv2d(3, 8, 8, 8), nn.ReLU()).eval()
    saved = torch.export.export(network, (example,), dynamic_shapes=({0: torch.export.Dim.DYNAMIC},))
    torch.export.save(saved, desk.folder / "w.pt2")
    return desk.folder / "w.pt2"


def rewrite(path, *, add=None, change=None):
    """Write the archive again with another member, or with one changed."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    root = next(iter(members)).partition("/")[0]
    for name, content in (add or {}).items():
        members[f"{root}/{name}"] = content
    if change is not None:
        name, edit = change
        members[f"{root}/{name}"] = edit(members[f"{root}/{name}"])
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def pickled(value):
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


def with_pickle_for_weights(content):
    config = json.loads(content)
    next(iter(config["config"].values()))["use_pickle"] = True
    return json.dumps(config).encode()


def with_operation(content, target):
    graph = json.loads(content)
    graph["graph_module"]["graph"]["nodes"][0]["target"] = target
    return json.dumps(graph).encode()


def with_length(content, text):
    return content.replace(b"Symbol(", text.encode() + b"(", 1)


HOSTILE = {
    "example inputs": ({"change": ("data/sample_inputs/model.pt", lambda _: pickled(Evil()))}, "a pickle of its example"),
    "weights": ({"change": ("data/weights/model_weights_config.json", with_pickle_for_weights)}, "a pickle for"),
    "object": ({"add": {"data/constants/opaque_obj_0": pickle.dumps(Evil())}}, "opaque_obj_0, which could run code"),
    "library": ({"add": {"data/aotinductor/model/a.so": b"code"}}, "a.so, which could run code"),
    "old format": ({"add": {"data/weights/model.pt": pickled(Evil())}}, "model.pt, which could run code"),
    "operation": ({"change": ("models/model.json", lambda c: with_operation(c, "torch.hub.load"))}, "torch.hub.load"),
    "call": ({"change": ("models/model.json", lambda c: with_operation(c, "_operator.call"))}, "operation _operator.call"),
    "length": ({"change": ("models/model.json", lambda c: with_length(c, "exec"))}, "the length exec"),
}  # fmt: skip


@pytest.mark.parametrize("kind", HOSTILE)
def test_what_could_run_code_is_refused_by_its_name(desk, program, kind):
    change, told = HOSTILE[kind]
    rewrite(program, **change)
    with pytest.raises(WeightsError, match=r"card tried: .*w.pt2: expected a program of tensors") as refused:
        desk.open("program", "w.pt2")
    assert told in str(refused.value)


def test_the_same_archive_written_again_is_read(desk, program):
    rewrite(program)
    (layer,) = desk.open("program", "w.pt2", dim=8)(torch.zeros(1, 3, 32, 32))
    assert layer.places.shape == (1, 8, 4, 4)


@pytest.mark.parametrize("content", [b"", b"rubbish" * 100])
def test_what_is_no_archive_is_one_line(desk, content):
    (desk.folder / "w.pt2").write_bytes(content)
    with pytest.raises(WeightsError, match=r"w.pt2: expected a file of torch.export.save, found BadZipFile"):
        desk.open("program", "w.pt2")
