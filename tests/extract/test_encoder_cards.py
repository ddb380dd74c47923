"""Cards of encoders: what may stand in them, and the arithmetic of those that are shipped, by hand."""

import numpy as np
import pytest
import torch

from extract.card_input import prepared, turned, turned_back
from extract.encoder_cards import SHIPPED_CARDS, check_weights, read_encoder_card
from extract.vision import torchvision_models
from pipeline.errors import ConfigError, WeightsError, WeightsNotFoundError
from pipeline.provenance import sha256_of_file

SHIPPED = sorted(path.stem for path in SHIPPED_CARDS.glob("*.toml"))
PLAIN = """
name = "tried"
door = "program"
file = "tried.pt2"
licence = "Apache-2.0"
citation = "nobody"

[input]
size = [2, 2]
orientation = "PL"
resize = "bilinear"
scaling = { mean = [0.0], deviation = [1.0] }
channels = 1

[output]
dim = 4
"""


@pytest.fixture
def card(tmp_path):
    """Write a card, a line of `PLAIN` replaced by another."""

    def write(old="", new=""):
        assert old in PLAIN
        (tmp_path / "card.toml").write_text(PLAIN.replace(old, new, 1))
        return tmp_path / "card.toml"

    return write


def shipped(name):
    return read_encoder_card(SHIPPED_CARDS / f"{name}.toml").input


def of_constant(name, hu):
    """Of a slice of one value, what the network is given: one number a channel."""
    given = prepared(torch.full((1, 1, 8, 8), float(hu)), shipped(name))
    assert given.shape[2:] == shipped(name).size
    return given[0, :, 0, 0].tolist()


def test_the_cards_of_the_encoders_that_were_promised_are_there():
    assert SHIPPED == ["curia", "curia-2", "dinov2", "dinov3", "meddinov3", "rad-dino", "radimagenet"]


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_card_says_what_it_is_and_what_goes_wrong(name):
    read = read_encoder_card(SHIPPED_CARDS / f"{name}.toml")
    assert all((read.source, read.licence, read.citation, read.traps))
    assert read.input.orientation == "PL"
    assert "float16" not in read.output.precisions


@pytest.mark.parametrize("hu", [0, 40, 65.1084213256836, 3000])
def test_meddinov3_clamps_at_1000_hu_and_scales_by_its_own_numbers(hu):
    expected = (min(hu, 1000) - 65.1084213256836) / 178.01663208007812
    assert of_constant("meddinov3", hu) == pytest.approx([expected] * 3, abs=1e-6)


def test_meddinov3_by_hand():
    # (1000 - 65.1084) / 178.0166 = 5.25171; (-1000 - 65.1084) / 178.0166 = -5.98320
    assert of_constant("meddinov3", 2000)[0] == pytest.approx(5.25171, abs=1e-4)
    assert of_constant("meddinov3", -1024)[0] == pytest.approx(-5.98320, abs=1e-4)


def test_radimagenet_turns_the_window_into_minus_one_to_one():
    found = [of_constant("radimagenet", hu)[0] for hu in (-1000, -160, 40, 240, 3000)]
    assert found == pytest.approx([-1, -1, 0, 1, 1], abs=1e-6)


def test_rad_dino_scales_by_its_own_mean_and_deviation():
    # The middle of the window is 0.5: (0.5 - 0.5307) / 0.2583 = -0.11885
    assert of_constant("rad-dino", 40) == pytest.approx([-0.11885] * 3, abs=1e-4)


@pytest.mark.parametrize("name", ["dinov2", "dinov3"])
def test_the_encoders_of_photographs_scale_each_channel_by_imagenet(name):
    # (0.5 - 0.485) / 0.229 = 0.06550; (0.5 - 0.456) / 0.224 = 0.19643; (0.5 - 0.406) / 0.225 = 0.41778
    assert of_constant(name, 40) == pytest.approx([0.06550, 0.19643, 0.41778], abs=1e-4)


@pytest.mark.parametrize("name", ["curia", "curia-2"])
def test_curia_by_the_steps_of_its_published_processor(name):
    torchvision_models()  # makes the package importable
    from torchvision.transforms.functional import convert_image_dtype  # noqa: PLC0415

    hu = np.random.default_rng(3).uniform(-1024, 1500, size=(300, 200)).astype(np.float32)
    integers = torch.from_numpy(hu).to(torch.int16)
    fractions = convert_image_dtype(integers, torch.float32)[None, None]
    resized = torch.nn.functional.interpolate(
        fractions, (512, 512), mode="bicubic", align_corners=False, antialias=True
    )[0, 0]
    expected = (resized - float(resized.mean())) / float(resized.std())
    found = prepared(torch.from_numpy(hu)[None, None], shipped(name))
    assert found.shape == (1, 1, 512, 512)
    torch.testing.assert_close(found[0, 0], expected, rtol=1e-4, atol=1e-4)


def test_curia_by_hand():
    # 512 x 512, so that nothing is resized: the upper half 100.9 HU, cut to 100, the lower -100.9, cut to -100.
    # Mean 0, unbiased deviation 100 * sqrt(n / (n - 1)), n = 262144: values are +-0.999998 whatever they are divided by.
    hu = torch.full((1, 1, 512, 512), 100.9)
    hu[:, :, 256:] = -100.9
    found = prepared(hu, shipped("curia"))
    assert found[0, 0, 0, 0].item() == pytest.approx(0.999998, abs=1e-5)
    assert found[0, 0, -1, 0].item() == pytest.approx(-0.999998, abs=1e-5)
    # Of a slice of one value nothing is divided: 40 / 32767 less the mean is 0.
    assert prepared(torch.full((1, 1, 512, 512), 40.0), shipped("curia")).abs().max() < 1e-6


def test_each_slice_is_scaled_by_itself():
    hu = torch.rand(3, 1, 512, 512, generator=torch.Generator().manual_seed(1)) * 500
    together = prepared(hu, shipped("curia"))
    torch.testing.assert_close(together[1:2], prepared(hu[1:2], shipped("curia")))


def test_rows_towards_anterior_and_columns_towards_right_turn_a_slice_upside_down_and_mirror_it():
    ours = torch.tensor([[1, 2, 3], [4, 5, 6]])  # rows posterior, columns left
    assert turned(ours, "PL").tolist() == [[1, 2, 3], [4, 5, 6]]
    assert turned(ours, "AL").tolist() == [[4, 5, 6], [1, 2, 3]]
    assert turned(ours, "PR").tolist() == [[3, 2, 1], [6, 5, 4]]
    assert turned(ours, "LP").tolist() == [[1, 4], [2, 5], [3, 6]]
    assert turned(ours, "RA").tolist() == [[6, 3], [5, 2], [4, 1]]


@pytest.mark.parametrize("orientation", ["SPL", "LPS", "RAS", "IPR", "ASR"])
def test_what_was_turned_is_turned_back(orientation):
    volume = torch.arange(2 * 3 * 4 * 5).view(2, 3, 4, 5)
    assert torch.equal(turned_back(turned(volume, orientation), orientation), volume)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("channels = 1", "chanels = 1", "unknown key 'input.chanels'; nearest valid key: 'channels'"),
        ('"PL"', '"PS"', "orientation 'PS': expected 2 letters, one of each of AP, LR"),
        ('"PL"', '"PA"', "expected 2 letters"),
        ("mean = [0.0]", "mean = [0.0, 1.0]", "2 means and 1 deviations"),
        ("deviation = [1.0]", "deviation = [0.0]", "greater than 0"),
        ('orientation = "PL"', 'orientation = "PL"\nhu_clip = [100, -100]', "lower and upper limit"),
        ("mean = [0.0], deviation = [1.0]", 'per = "volume"', "slices are embedded one by one"),
        ('door = "program"', 'door = "program"\nnetwork = "resnet18"', "expects none, the program holds it"),
        ("tried.pt2", "tried.pth", "expects a .pt2; a pickle is refused"),
        ('door = "program"\nfile = "tried.pt2"', 'door = "timm"\nnetwork = "resnet18"\nfile = "w.bin"',
         "expects a .safetensors; a pickle is refused"),
        ('licence = "Apache-2.0"\n', "", "licence: Field required"),
        ("[2, 2]", "[2, 2, 2]", "orientation 'PL': expected 3 letters"),
    ],
)  # fmt: skip
def test_a_card_that_contradicts_itself_is_refused_by_its_key(card, old, new, told):
    with pytest.raises(ConfigError) as refused:
        read_encoder_card(card(old, new))
    assert "card.toml: " in str(refused.value)
    assert told in str(refused.value)


def test_paths_in_a_card_are_relative_to_it(card, tmp_path):
    assert read_encoder_card(card()).file == tmp_path / "tried.pt2"


def test_weights_that_are_not_there_are_told_with_their_source(card, tmp_path):
    path = card('door = "program"', 'door = "program"\nsource = "the authors"')
    with pytest.raises(
        WeightsNotFoundError, match=r"card .*card.toml: .*tried.pt2: .* get it from the authors"
    ):
        check_weights(read_encoder_card(path), path)


def test_a_wrong_hash_names_card_file_expected_and_found(card, tmp_path):
    (tmp_path / "tried.pt2").write_bytes(b"weights")
    found = sha256_of_file(tmp_path / "tried.pt2")
    path = card('door = "program"', f'door = "program"\nsha256 = "{"0" * 64}"')
    with pytest.raises(
        WeightsError, match=rf"card.toml: .*tried.pt2: expected SHA-256 0{{64}}, found {found}"
    ):
        check_weights(read_encoder_card(path), path)


def test_a_card_without_hash_is_told_the_one_to_compare(card, tmp_path):
    (tmp_path / "tried.pt2").write_bytes(b"weights")
    path = card()
    with pytest.raises(WeightsError, match=rf"compare {sha256_of_file(tmp_path / 'tried.pt2')} with"):
        check_weights(read_encoder_card(path), path)
