"""The bags that the models are tried on."""

from dataclasses import replace

import pytest
import torch


@pytest.fixture(autouse=True)
def one_thread():
    """The networks of these tests are too small for two threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def cohort(bags_and_labels):
    """Sixty patients of three classes, with features that are neither centred nor of unit variance."""
    bags, labels = bags_and_labels
    return [replace(bag, features=3 + 2 * bag.features) for bag in bags], labels
