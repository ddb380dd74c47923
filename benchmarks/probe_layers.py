"""What the layers of an encoder know of real CT: linear probes of organs, as benchmarks/probe_encoders.py has them.

    python benchmarks/probe_layers.py --output results/reference/layer_probes.csv

The early layer that the models of the phantom read knows contrast and texture; which organ a crop shows is told by later
ones. Needs the real CT beside the checkout; embeds at 112 px.
"""

import argparse
import sys
from pathlib import Path

from probe_encoders import embedded, image_scores
from probe_tasks import organ_tasks
from reference import write_reference

from extract.encoders import load_encoder

EARLY, LAST = "features.3", "penultimate"
ENCODERS = {
    "embedded": ("squeezenet1_1", "embedded", (LAST, EARLY)),
    "untrained": ("squeezenet1_1", "random:0", (LAST, EARLY)),
    "ImageNet EfficientNet-Lite0": ("efficientnet_lite0", "installed", (LAST, "features.2", "features.4")),
}
"""Name -> architecture, weights, layers that are probed alone; the embedded ones side by side, too."""
SIZE_PX = 112


def rows():
    """Yield one row per encoder and layer."""
    tasks = list(organ_tasks())
    for name, (architecture, weights, layers) in ENCODERS.items():
        for chosen in (*((layer,) for layer in layers), *([layers] if name == "embedded" else [])):
            encoder = load_encoder(architecture, weights, layers=chosen)
            row = {"encoder": name, "layers": "+".join(chosen), "size_px": SIZE_PX}
            for task in tasks:
                row |= image_scores(task, embedded(encoder, task.images, SIZE_PX))
            print(row, flush=True)
            yield row


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, help="write the table there, too")
    arguments = parser.parse_args()
    found = list(rows())
    if arguments.output is not None:
        write_reference(arguments.output, found)


if __name__ == "__main__":
    sys.exit(main())
