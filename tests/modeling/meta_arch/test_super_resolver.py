"""SuperResolver: its pairs, its losses and players, overfitting, and what SuperResolved loads."""

from __future__ import annotations

from lowres_d2.evaluation import SuperResolutionEvaluator
from lowres_d2.modeling import LowResDetector
from lowres_d2.modeling.backbone import CifarAlexNet
from lowres_d2.modeling.meta_arch import ImageClassifier, SuperResolver
from lowres_d2.modeling.resample import Identity, SuperResolved
from lowres_d2.modeling.super_resolution import (
    ESPCN,
    VDSR,
    FeatureContent,
    ImageDiscriminator,
    SRResNet,
)

import pytest
import torch
from torch import nn


class Repeated(nn.Module):
    """Each pixel twice along both axes."""

    factor = 2

    def __init__(self):
        super().__init__()
        self.gain = nn.Parameter(torch.ones(()))

    def forward(self, images):
        return self.gain * images.repeat_interleave(2, -1).repeat_interleave(2, -2)


def inputs(number=2, size=(16, 16)):
    generator = torch.Generator().manual_seed(0)
    return [
        {"image": torch.randint(0, 256, (3, *size), generator=generator, dtype=torch.uint8)}
        for _ in range(number)
    ]


def block_means(image, side):
    channels, height, width = image.shape
    parts = image.double().view(channels, height // side, side, width // side, side)
    return parts.mean((2, 4))


def srgan():
    torch.manual_seed(0)
    return SuperResolver(
        SRResNet(width=4, depth=1),
        discriminator=ImageDiscriminator(image_size=8, width=4, depth=2, hidden=8),
    )


def test_pairs_are_the_image_downsampled_by_4_and_by_2():
    model = SuperResolver(Repeated(), interpolation="box").eval()
    for given, found in zip(inputs(), model(inputs()), strict=True):
        low, target = (block_means(given["image"] / 255, side) for side in (4, 2))
        torch.testing.assert_close(found["low_res"].double(), low)
        torch.testing.assert_close(found["target"].double(), target)
        repeated = low.repeat_interleave(2, 1).repeat_interleave(2, 2)
        torch.testing.assert_close(found["super_resolved"].detach().double(), repeated)


def test_the_content_loss_is_the_mean_of_squared_differences():
    model = SuperResolver(Repeated(), interpolation="box")
    expected = []
    for given in inputs():
        low, target = (block_means(given["image"] / 255, side) for side in (4, 2))
        expected.append((low.repeat_interleave(2, 1).repeat_interleave(2, 2) - target) ** 2)
    losses = model(inputs())
    assert losses.keys() == {"loss_content"}
    assert losses["loss_content"].item() == pytest.approx(torch.stack(expected).mean().item())


def test_a_content_of_ones_own_takes_the_place_of_the_squares():
    model = SuperResolver(Repeated(), content=nn.L1Loss())
    found = model.eval()(inputs())
    expected = torch.stack([(x["super_resolved"] - x["target"]).abs() for x in found]).mean()
    torch.testing.assert_close(model.train()(inputs())["loss_content"], expected)


def test_each_players_losses_reach_that_player_alone():
    for name in ("loss_content", "loss_adversarial", "loss_discriminator"):
        model = srgan()
        model(inputs())[name].backward()
        plays = {
            player: any(p.grad is not None and p.grad.any() for p in part.parameters())
            for player, part in (("network", model.network), ("other", model.discriminator))
        }
        discriminates = name == "loss_discriminator"
        assert plays == {"network": not discriminates, "other": discriminates}, name


def test_while_the_discriminator_is_frozen_only_the_content_is_trained():
    model = srgan()
    model.discriminator.requires_grad_(False)
    assert model(inputs()).keys() == {"loss_content"}


def test_images_of_odd_and_mixed_sizes_are_evaluated_as_if_alone():
    model = SuperResolver(Repeated()).eval()
    batch = [*inputs(1, (13, 18)), *inputs(1), *inputs(1, (13, 18))]
    found = model(batch)
    assert [tuple(x["super_resolved"].shape) for x in found] == [(3, 7, 9), (3, 8, 8), (3, 7, 9)]
    for given, together in zip(batch, found, strict=True):
        alone = model([given])[0]
        for key in ("super_resolved", "target", "low_res", "bicubic"):
            torch.testing.assert_close(alone[key], together[key])
        assert together["super_resolved"].shape == together["target"].shape


@pytest.mark.parametrize("factor", [2, 4])
def test_the_bicubic_image_is_in_the_networks_frame(factor):
    network = VDSR(factor, width=2, depth=2)
    for parameter in network.layers.parameters():
        nn.init.zeros_(parameter)
    model = SuperResolver(network, low_factor=4).eval()
    for size in ((16, 16), (9, 18)):
        found = model(inputs(1, size))[0]
        assert found["bicubic"].shape == found["target"].shape
        torch.testing.assert_close(found["bicubic"], found["super_resolved"])


def test_odd_sizes_train_on_what_is_evaluated():
    model = SuperResolver(Repeated())
    loss = model(inputs(1, (13, 18)))["loss_content"]
    found = model.eval()(inputs(1, (13, 18)))[0]
    torch.testing.assert_close(loss, (found["super_resolved"] - found["target"]).square().mean())


def test_wrong_images_and_factors_are_refused():
    model = SuperResolver(Repeated())
    with pytest.raises(ValueError, match=r"differ in size \(12x16, 16x16\): super-resolution"):
        model([*inputs(1), *inputs(1, (16, 12))])
    with pytest.raises(ValueError, match=r"a\.png of 2x3 .* is smaller than the factor 4"):
        model([{"image": torch.zeros(3, 2, 3), "file_name": "a.png"}])
    with pytest.raises(ValueError, match="low_factor=1 with a network that super-resolves 2x"):
        SuperResolver(Repeated(), low_factor=1)


@pytest.mark.parametrize(
    "network",
    [dict(kind=ESPCN, width=32), dict(kind=VDSR, width=16, depth=4), dict(kind=SRResNet, width=16)],
    ids=lambda network: network["kind"].__name__,
)
def test_networks_overfit_two_images(network):
    torch.manual_seed(0)
    kind = network.pop("kind")
    network = kind(**network, **({"depth": 2} if kind is SRResNet else {}))
    batch = inputs()
    model = SuperResolver(network)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    for _ in range(150):
        optimizer.zero_grad()
        loss = model(batch)["loss_content"]
        loss.backward()
        optimizer.step()
    # Noise, of which interpolation knows nothing.
    noise = SuperResolver(Repeated())(batch)["loss_content"]
    assert loss < noise / 4
    evaluator = SuperResolutionEvaluator([{"image_id": k} for k in range(len(batch))])
    with torch.no_grad():
        evaluator.process([{"image_id": k} for k in range(len(batch))], model.eval()(batch))
    found = evaluator.evaluate()["super_resolution"]
    assert found["psnr"] > found["psnr-bicubic"] + 3
    assert found["ssim"] > found["ssim-bicubic"]


def _saved(tmp_path, model):
    torch.save({"model": model.state_dict()}, tmp_path / "model_final.pth")
    return str(tmp_path)


@pytest.mark.parametrize("composed", [False, True])
def test_a_resampler_takes_the_network_of_a_runs_folder(tmp_path, composed):
    trained = srgan()
    with torch.no_grad():
        trained(inputs())  # moves the norms' statistics
    run = LowResDetector(trained, Identity()) if composed else trained
    resampler = SuperResolved(SRResNet(width=4, depth=1), _saved(tmp_path, run), output_factor=2)
    resampler.load_frozen_weights()
    images = [x["image"] / 255 for x in inputs()]
    expected = [x["super_resolved"] for x in trained.eval()(inputs())]
    resampler.train()
    torch.testing.assert_close(resampler(images), expected)
    (tmp_path / "model_final.pth").unlink()
    resampler.load_frozen_weights()  # once


def test_wrong_weights_of_a_resampler_are_one_line(tmp_path):
    key = r"model\.resampler\.checkpoint"
    with pytest.raises(ValueError, match=rf"\(ESPCN\) has no weights: set {key}=FOLDER"):
        SuperResolved(ESPCN()).load_frozen_weights()
    with pytest.raises(FileNotFoundError, match=rf"network ESPCN \({key}\): .*missing"):
        SuperResolved(ESPCN(), str(tmp_path / "missing.pth")).load_frozen_weights()
    folder = _saved(tmp_path, SuperResolver(VDSR(width=4, depth=3)))
    with pytest.raises(ValueError, match=rf"network ESPCN \({key}\): .*") as found:
        SuperResolved(ESPCN(width=4), folder).load_frozen_weights()
    assert "\n" not in str(found.value)
    with pytest.raises(ValueError, match=r"has 2 more tensors, such as network\.layers\.4"):
        network = VDSR(width=4, depth=3)
        network.layers = network.layers[:4]
        SuperResolved(network, folder).load_frozen_weights()


def test_a_run_loads_them_before_it_starts(tmp_path):
    from lowres_d2.engine.startup.weights import load_frozen_networks

    trained = SuperResolver(ESPCN(width=4))
    resampler = SuperResolved(ESPCN(width=4), _saved(tmp_path, trained))
    load_frozen_networks(LowResDetector(nn.Identity(), resampler))
    for own, other in zip(
        resampler.network.parameters(), trained.network.parameters(), strict=True
    ):
        assert torch.equal(own, other)


@pytest.mark.parametrize("output_factor", [1, 2])
def test_a_ramp_stays_in_its_frame(output_factor):
    network = VDSR(width=4, depth=2)
    for p in network.layers.parameters():
        nn.init.zeros_(p)  # the interpolated image
    resampler = SuperResolved(network, None, output_factor=output_factor)
    columns = (torch.arange(64) + 0.5) / 64
    found = resampler([columns.expand(3, 64, 64)])[0]
    side = 64 // output_factor
    expected = ((torch.arange(side) + 0.5) * output_factor / 64).expand(3, side, side)
    inside = slice(side // 4, -(side // 4))
    torch.testing.assert_close(found[..., inside], expected[..., inside], atol=1e-5, rtol=0)


def classifier(seed=0):
    torch.manual_seed(seed)
    backbone = CifarAlexNet(width=2)
    return ImageClassifier(backbone, 3, pixel_mean=[125.0] * 3, pixel_std=[62.0] * 3)


@pytest.mark.parametrize("composed", [False, True])
def test_content_can_be_that_of_a_trained_classifiers_features(tmp_path, composed):
    from lowres_d2.engine.startup.weights import load_frozen_networks

    trained = classifier().eval()
    run = LowResDetector(trained, Identity()) if composed else trained
    content = FeatureContent(
        classifier(1), _saved(tmp_path, run), tap="backbone.stages.stage1", pixels=2.0
    )
    model = SuperResolver(Repeated(), content=content).train()
    load_frozen_networks(LowResDetector(model, Identity()))
    before = {key: value.clone() for key, value in content.state_dict().items()}
    loss = model(inputs())["loss_content"]
    loss.backward()
    assert model.network.gain.grad.abs() > 0

    found = model.eval()(inputs())
    stage = trained.backbone.stages["stage1"]
    features, pixels = [], []
    for pair in found:
        # Not clamped: these images do not overshoot.
        made, target = (255 * pair[key] for key in ("super_resolved", "target"))
        of_made, of_target = (stage((x[None] - 125) / 62) for x in (made, target))
        features.append((of_made - of_target).square().mean())
        pixels.append((made - target).square().mean() / 255**2)
    expected = torch.stack(features).mean() + 2 * torch.stack(pixels).mean()
    torch.testing.assert_close(loss, expected)
    for key, value in content.state_dict().items():
        assert torch.equal(value, before[key]), key


def test_wrong_classifiers_of_a_content_loss_are_one_line(tmp_path):
    key = r"model\.detector\.content\.checkpoint"
    stage = "backbone.stages.stage1"
    with pytest.raises(ValueError, match=rf"\(ImageClassifier\) has no weights: set {key}"):
        FeatureContent(classifier(), tap=stage).load_frozen_weights()
    folder = _saved(tmp_path, SuperResolver(ESPCN(width=4)))
    with pytest.raises(ValueError, match=rf"classifier ImageClassifier \({key}\): ") as found:
        FeatureContent(classifier(), folder, tap=stage).load_frozen_weights()
    assert "\n" not in str(found.value)
    with pytest.raises(KeyError, match=r"tap 'backbone\.res3' names no submodule; nearest: "):
        FeatureContent(classifier(), None)
    with pytest.raises(ValueError, match="tap='backbone' gives a dict: expected a module"):
        FeatureContent(classifier(), None, tap="backbone")(*torch.rand(2, 1, 3, 16, 16))
