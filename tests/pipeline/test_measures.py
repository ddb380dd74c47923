"""The measures of a bag: their names, and the numbers that their version stands for."""

import numpy as np

from pipeline.lesion_shape import greatest_3d_diameter_mm, mesh_sphericity
from pipeline.measures import MEASURES, VERSION
from pipeline.slice_measures import MEASURES as OF_SLICE
from pipeline.slice_measures import measure_slice


def test_every_measure_of_a_slice_is_written_and_each_has_one_name_and_a_unit():
    names = [measure.name for measure in MEASURES]
    assert len(set(names)) == len(names)
    assert [measure.field for measure in MEASURES if measure.field] == list(OF_SLICE)
    assert {measure.unit for measure in MEASURES} == {"HU", "mm", "mm3", ""}


def test_the_version_stands_for_these_numbers():
    """Where this fails because a measure was changed on purpose, raise VERSION and take over the new numbers."""
    rows, columns, slices = np.mgrid[:60, :60, :12]
    inside = ((rows - 30) / 14.0) ** 2 + ((columns - 29) / 11.0) ** 2 + ((slices - 6) / 5.0) ** 2 <= 1
    depth = np.hypot((rows - 30) / 14.0, (columns - 29) / 11.0)
    hu = np.where(inside, 110 - 40 * (depth < 0.5), 70) + (3 * rows + 5 * columns) % 7
    plane = measure_slice(hu[:, :, 6].astype(np.int16), inside[:, :, 6], (0.8, 0.8))
    found = [getattr(plane, measure.field) for measure in MEASURES if measure.field]
    lesion = inside.transpose(2, 0, 1)
    found += [greatest_3d_diameter_mm(lesion, (2.5, 0.8, 0.8)), mesh_sphericity(lesion, (2.5, 0.8, 0.8))]
    assert VERSION == 1
    expected = [112.0, 73.0, 39.0, 1.0, 39.0, -40.0, 2.523517, 23.2, 0.947229, 27.5, 0.977519]
    np.testing.assert_allclose(found, expected, rtol=1e-4)
