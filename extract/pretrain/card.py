"""The trained encoder as a file: safetensors in half precision and a model card in JSON beside it."""

import json
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from extract.pretrain.descriptors import GROUPS
from extract.pretrain.objective import GROUP_WEIGHTS
from extract.pretrain.settings import PretrainConfig
from extract.pretrain.train import CURVE, Run, precision_of, views_per_image
from extract.pretrain.views import FACTORS, MEAN, STD
from pipeline.files import written_whole
from pipeline.provenance import sha256_of_file, software_versions, utc_now


def write_encoder(config: PretrainConfig, run: Run) -> Path:
    """Write `<name>.safetensors` (the averaged trunk, torchvision's names) and `<name>.json` (the card)."""
    path = config.output / f"{config.name}.safetensors"
    network = run.averaged_trunk()
    tensors = {
        name: value.half().contiguous() if value.is_floating_point() else value.contiguous()
        for name, value in network.state_dict().items()
    }
    with written_whole(path) as sibling:
        save_file(tensors, sibling, metadata={"architecture": config.architecture, "name": config.name})
    card = describe(config, run) | {"file": path.name, "sha256": sha256_of_file(path)}
    with written_whole(path.with_suffix(".json")) as sibling:
        sibling.write_text(json.dumps(card, indent=1) + "\n", encoding="utf-8")
    return path


def describe(config: PretrainConfig, run: Run) -> dict[str, Any]:
    """Return what a user must know of the encoder, as plain JSON values."""
    device = next(run.learner.parameters()).device
    return {
        "name": config.name,
        "architecture": config.architecture,
        "mean": list(MEAN),
        "std": list(STD),
        "value_range": [0.0, 1.0],
        "channel_order": "RGB",
        "key_map": "torchvision",
        "licence": "Apache-2.0",
        "data": (
            "images drawn by formula only (extract/pretrain/formulas.py): no photograph, no scan, no patient, "
            "and nothing of the phantom"
        ),
        "formulas": dict(config.pool.formulas),
        "objective": {
            "tell the descriptors of the view before noise": config.objective.descriptors,
            "tell the factors of the view": config.objective.factors,
            "name the formula": config.objective.formula,
            "know the instance again (InfoNCE)": config.objective.instance,
        },
        "descriptors": {name: {"numbers": n, "weight": GROUP_WEIGHTS[name]} for name, n in GROUPS.items()},
        "factors": list(FACTORS),
        "trained_at_px": [config.views.first_size, config.views.size],
        "training": {
            "device": device.type,
            "cpu_minutes": round(run.cpu_seconds / 60, 1),
            "steps": run.step,
            "views": run.step * config.batch * views_per_image(config.objective),
            "precision": precision_of(config, device),
            "begun from": _of_file(config.begin_from),
            "optimiser": f"AdamW, learning rate {config.learning_rate}, weight decay {config.weight_decay}",
            "schedule": (
                f"a rise over 3 % of the steps, then half a cosine to 0; inputs of {config.views.size} px in the "
                f"last {100 * config.views.final_share:g} % of the steps, of {config.views.first_size} px before"
            ),
            "seed": config.seed,
            "software": dict(software_versions()),
            "finished_utc": utc_now(),
        },
        "stored_as": "float16",
        "curve": {"columns": list(CURVE), "rows": [[round(v, 4) for v in row] for row in run.curve]},
    }


def _of_file(path: Path | None) -> dict[str, str] | None:
    return None if path is None else {"name": path.name, "sha256": sha256_of_file(path)}
