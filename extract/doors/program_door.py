"""The door `program`: a network with its weights, written by torch.export.save as a .pt2 file; slices or volumes.

torch.export.load unpickles parts of such a file and evaluates others. So the file is looked through first, and refused
where it holds more than tensors, a graph of tensor operations and lengths of axes.
"""

import io
import json
import re
import zipfile
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from torch.export.passes import move_to_device_pass

from extract.doors.reading import MapMaker, Opened, Tokens, unlike
from extract.encoder_cards import EncoderCard

_MEMBERS = re.compile(
    r"^[^/]+/(data/weights/weight_\d+|data/constants/tensor_\d+|data/(weights/model_weights|constants/model_constants)_config\.json"
    r"|models/model\.json|data/sample_inputs/model\.pt|archive_format|archive_version|byteorder|\.data/\w+)$"
)
_OPERATIONS = re.compile(
    r"^(torch\.ops\.aten\.\w+\.\w+|torch\.sym_\w+|math\.\w+"
    r"|torch\.ops\.higher_order\.(wrap_with_set_grad_enabled|wrap_with_autocast)"
    r"|_operator\.(getitem|add|sub|mul|truediv|floordiv|mod|pow|neg|eq|ne|lt|le|gt|ge|and_|or_|not_))$"
)
_WORDS = re.compile(r"[A-Za-z_]\w*|[^\w\s+\-*/(),.=<>']")
_WORD_OF_A_LENGTH = re.compile(
    r"^([su]\d+|Symbol|positive|nonnegative|integer|True|False|Max|Min|Mod|FloorDiv|CleanDiv|CeilDiv|PythonMod|Integer|"
    r"ToFloat|IntTrueDiv|Eq|Ne|Lt|Le|Gt|Ge|int_oo|oo)$"
)


def open_program(card: EncoderCard, device: torch.device | str) -> Opened:
    """Load the program of a card onto a device; its outputs are the layers of the card, in their order.

    Raises:
        WeightsError: the file is no such program, or holds what could run code.
    """
    _look_through(card)
    try:
        # What the guards of the file would say is checked by the card; they are code, and not run.
        program = move_to_device_pass(torch.export.load(str(card.file)), str(device))
        network = program.module(check_guards=False)
    except (RuntimeError, ValueError, KeyError, AssertionError) as error:
        raise unlike(card, "a program that torch.export.load reads", _line(error)) from error
    patch, n_prefix = card.output.patch_px, card.output.prefix_tokens
    maker = MapMaker(card, Tokens((patch,) * card.input.dims, n_prefix) if patch else None)
    return Opened(network, lambda inputs: maker.maps(_tensors(card, network(inputs))))


def _tensors(card: EncoderCard, given: object) -> Sequence[Tensor]:
    found = (given,) if isinstance(given, Tensor) else given
    if isinstance(found, tuple | list) and all(isinstance(one, Tensor) for one in found):
        return tuple(found)
    raise unlike(card, "tensors as the outputs of the program", type(given).__name__)


def _look_through(card: EncoderCard) -> None:
    """Refuse a file in which more could be read than tensors and a graph of tensor operations."""
    try:
        with zipfile.ZipFile(card.file) as archive:
            fault = next(_faults(archive), None)
    except (zipfile.BadZipFile, KeyError, ValueError, RuntimeError, OSError) as error:
        raise unlike(card, "a file of torch.export.save", _line(error)) from error
    if fault is not None:
        raise unlike(card, "a program of tensors and tensor operations only", fault)


def _faults(archive: zipfile.ZipFile) -> Iterator[str]:
    names = archive.namelist()
    yield from (f"{name} twice" for name in names if names.count(name) > 1)
    yield from (f"{name}, which could run code" for name in names if not _MEMBERS.match(name))
    for name in names:
        if name.endswith("_config.json"):
            tensors = json.loads(archive.read(name))["config"]
            yield from (f"a pickle for {key}" for key, one in tensors.items() if one["use_pickle"])
        elif name.endswith("model.json"):
            yield from _faults_of_graph(json.loads(archive.read(name)))
        elif name.endswith("model.pt") and not _is_of_tensors(archive.read(name)):
            yield "a pickle of its example inputs"


def _faults_of_graph(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        target, text = value.get("target"), value.get("expr_str")
        if isinstance(target, str) and "inputs" in value and not _OPERATIONS.match(target):
            yield f"the operation {target}"
        if isinstance(text, str) and not all(map(_WORD_OF_A_LENGTH.match, _WORDS.findall(text))):
            yield f"the length {text}"
        for inner in value.values():
            yield from _faults_of_graph(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _faults_of_graph(inner)


def _is_of_tensors(content: bytes) -> bool:
    try:
        torch.load(io.BytesIO(content), weights_only=True)
    except Exception:  # noqa: BLE001 - unpickling rubbish raises nearly anything, and the loader would unpickle it then
        return False
    return True


def _line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
