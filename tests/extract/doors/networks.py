"""Small networks of the classes that the doors are for, built and saved as their authors save them."""

import torch
from safetensors.torch import save_file
from torch import nn

from extract.architectures import find_architecture
from extract.offline import offline_library

FOLDERS = {
    "Dinov2Model": ("Dinov2Config", {"use_swiglu_ffn": True}, 1),  # as Curia: SwiGLU
    "Dinov2WithRegistersModel": ("Dinov2WithRegistersConfig", {"num_register_tokens": 3}, 4),
    "DINOv3ViTModel": ("DINOv3ViTConfig", {"num_register_tokens": 4, "intermediate_size": 32}, 5),
    "SiglipVisionModel": ("SiglipVisionConfig", {"intermediate_size": 32}, 0),
}
SMALL = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": 32,
    "patch_size": 8,
}


def save_folder(folder, network, **more):
    transformers = offline_library("transformers", extra="encoders")
    transformers.utils.logging.disable_progress_bar()
    torch.manual_seed(4)
    kind, particular, _ = FOLDERS[network]
    config = getattr(transformers, kind)(**{**SMALL, **particular, **more})
    built = getattr(transformers, network)(config).eval()
    built.save_pretrained(folder)
    return built


class Patches(nn.Module):
    """A map, and vectors of slices."""

    def __init__(self):
        super().__init__()
        self.patches = nn.Conv2d(3, 8, 8, 8)
        self.register_buffer("factor", torch.full((), 2.0), persistent=False)

    def forward(self, images):
        found = self.patches(images).relu() * self.factor
        return found, found.mean((2, 3))


class Volume(nn.Module):
    def __init__(self):
        super().__init__()
        self.patches = nn.Conv3d(1, 8, (8, 8, 2), (8, 8, 2))

    def forward(self, volumes):
        return self.patches(volumes).relu()


def save_program(path, network, example):
    torch.manual_seed(6)
    network = network.eval()
    program = torch.export.export(network, (example,), dynamic_shapes=({0: torch.export.Dim.DYNAMIC},))
    torch.export.save(program, path)
    return network


def door_with_network(desk, images, door):
    if door == "huggingface":
        save_folder(desk.folder / "saved", "Dinov2Model")
        return {"file": "saved", "network": "Dinov2Model"}
    if door == "program":
        save_program(desk.folder / "w.pt2", Patches(), images)
        return {"file": "w.pt2", "dim": 8, "output": 'layers = ["map", "vector"]'}
    timm_or_torchvision = {"timm": "test_resnet", "torchvision": "squeezenet1_1"}[door]
    torch.manual_seed(3)
    if door == "timm":
        built = offline_library("timm", extra="encoders").create_model(timm_or_torchvision)
    else:
        built = find_architecture(timm_or_torchvision).build()
    save_file(built.state_dict(), desk.folder / "w.safetensors")
    return {
        "file": "w.safetensors",
        "network": timm_or_torchvision,
        "dim": {"timm": 96, "torchvision": 512}[door],
    }
