import pytest
import torch

from extract.pretrain.views import FACTORS, MEAN, STD, draw_views

FIELDS = torch.randn(64, 32, 32, generator=torch.Generator().manual_seed(1))


def views(mixed=0.0, seed=0):
    return draw_views(FIELDS, 24, torch.Generator().manual_seed(seed), mixed=mixed)


def test_views_are_images_from_black_to_white_before_they_are_normalised():
    images = views().images
    assert images.shape == (64, 3, 24, 24)
    mean, std = (torch.tensor(values)[:, None, None] for values in (MEAN, STD))
    grey = images * std + mean
    assert grey.min() >= -1e-6
    assert grey.max() <= 1 + 1e-6


def test_some_views_are_grey_and_some_are_not():
    images = views().images * torch.tensor(STD)[:, None, None] + torch.tensor(MEAN)[:, None, None]
    grey = (images - images[:, :1]).abs().amax((1, 2, 3)) < 1e-5
    assert 0.25 < grey.float().mean() < 0.75


def test_factors_are_of_about_unit_scale():
    factors = torch.cat([views(seed=s).factors for s in range(20)])
    assert factors.shape[1] == len(FACTORS)
    assert factors.mean(0).abs().max() < 0.4
    assert ((factors.std(0) > 0.7) & (factors.std(0) < 1.4)).all()


@pytest.mark.parametrize("mixed", [0.0, 1.0])
def test_an_image_stays_its_own_unless_it_is_mixed(mixed):
    share = views(mixed=mixed).own_share
    assert (share > 0.999).all() if mixed == 0 else (share < 0.999).float().mean() > 0.8
    assert ((share >= 0) & (share <= 1 + 1e-6)).all()


def test_what_a_view_shows_before_the_noise_is_without_noise():
    """Views of blank images: the clean ones are blank, the others are not."""
    blank = draw_views(torch.zeros_like(FIELDS), 24, torch.Generator().manual_seed(0))
    assert blank.clean.shape == (64, 24, 24)
    assert blank.clean.std((1, 2)).max() < 1e-5
    assert (blank.images.std((2, 3)).amax(1) > 1e-3).float().mean() > 0.9


def test_clean_views_are_images_from_black_to_white():
    clean = views().clean
    assert clean.min() >= 0
    assert clean.max() <= 1


def test_more_than_half_of_the_views_are_enlarged():
    enlargement = torch.cat([views(seed=s).factors[:, FACTORS.index("log enlargement")] for s in range(20)])
    assert 0.45 < (enlargement > enlargement.min()).float().mean() < 0.75


def test_partners_are_other_images_of_the_batch():
    partner = views().partner
    assert sorted(partner.tolist()) == list(range(64))
    assert (partner != torch.arange(64)).all()
