"""Cards of small networks that a test builds and saves."""

import socket
from dataclasses import dataclass
from pathlib import Path

import pytest

from extract.doors.opening import open_network
from extract.encoder_cards import EncoderCard, check_weights, read_encoder_card
from pipeline.provenance import sha256_of_file


@dataclass
class Desk:
    """A folder in which cards are written beside weights."""

    folder: Path

    def write(
        self,
        door: str,
        file: str,
        *,
        network: str = "",
        size: tuple[int, ...] = (32, 32),
        channels: int = 3,
        orientation: str = "PL",
        dim: int = 16,
        output: str = "",
        more: str = "",
        sha256: str | None = None,
    ) -> Path:
        weights = self.folder / file / "model.safetensors" if door == "huggingface" else self.folder / file
        found = sha256 or sha256_of_file(weights)
        path = self.folder / "tried.toml"
        path.write_text(
            f"""
name = "tried"
door = "{door}"
network = "{network}"
file = "{file}"
sha256 = "{found}"
licence = "Apache-2.0"
citation = "nobody"

[input]
size = {list(size)}
orientation = "{orientation}"
resize = "bilinear"
scaling = {{ mean = [0.0], deviation = [100.0] }}
channels = {channels}

[output]
dim = {dim}
{output}

{more}
"""
        )
        return path

    def read(self, door: str, file: str, **more: object) -> EncoderCard:
        path = self.write(door, file, **more)
        card = read_encoder_card(path)
        check_weights(card, path)
        return card

    def open(self, door: str, file: str, **more: object):
        return open_network(self.read(door, file, **more))


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    """Whoever opens a connection fails the test."""

    def refuse(*_arguments):
        pytest.fail("a connection was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.fixture
def desk(tmp_path) -> Desk:
    return Desk(tmp_path)
