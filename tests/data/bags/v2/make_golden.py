"""Write the golden bag of version 2, once: from then on it stays as it is and every later release must read it.

PYTHONPATH=. .venv/bin/python tests/data/bags/v2/make_golden.py
"""

from pathlib import Path

import numpy as np

from pipeline.bags import VERSION, Bag, BagHeader, FeatureBlock, Recipe, Source, bag_path, write_bag

FOLDER = Path(__file__).resolve().parent


def golden() -> Bag:
    """Return the numbers of the golden bag of version 1 with two blocks, two measures and extents of its own."""
    recipe = Recipe(
        "resnet18", "penultimate", "IMAGENET1K_V1", "3" * 64, "float32", {"input": {"size_px": 224}}
    )
    sources = {
        name: Source(f"golden_{name}.nii.gz", "1" * 64, "2" * 64, "drawn", (0.7, 0.7, 2.5), 80)
        for name in ("AP", "DP")
    }
    header = BagHeader(
        patient_id="golden",
        phase_names=("NC", "AP", "PVP", "DP"),
        phases_missing=dict.fromkeys(("NC", "PVP"), "no scan in the cohort table"),
        scale_names=("tight",),
        recipe=recipe,
        sources=sources,
        content_key="4" * 64,
        tile_size_um=120000.0,
        tile_size_px=224,
        feature_blocks=(FeatureBlock("whole", 0, 2), FeatureBlock("rim", 2, 3)),
        reference_hu={"AP": 65.5, "DP": 98.0},
        measure_names=("lesion_median", "diameter"),
        measure_units=("HU", "mm"),
    )
    return Bag(
        header=header,
        features=np.arange(12, dtype=np.float32).reshape(4, 3) / 8,
        phase=np.array([1, 1, 3, 3], dtype=np.int8),
        slice_index=np.array([4, 5, 2, 3], dtype=np.int32),
        z_mm=np.array([10.0, 12.5, 5.0, 7.5], dtype=np.float32),
        tumour_area_mm2=np.array([100.0, 90.0, 80.0, 70.0], dtype=np.float32),
        lesion=np.ones(4, dtype=np.int16),
        scale=np.zeros(4, dtype=np.int8),
        measures=np.array([[80.5, 11.25], [np.nan, 10.5], [62.0, 10.0], [61.5, np.nan]], dtype=np.float32),
        extent_mm=np.array([2.5, 2.5, 5.0, 5.0], dtype=np.float32),
    )


if __name__ == "__main__":
    if VERSION != 2 or bag_path(FOLDER, "golden").exists():
        raise SystemExit(
            "the golden bag of version 2 is there, or can no longer be written: leave it as it is"
        )
    write_bag(FOLDER, golden())
