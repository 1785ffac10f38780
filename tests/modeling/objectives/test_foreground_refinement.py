"""DFR-Det's loss against its equations, its mask, its decoder in a detector."""

from __future__ import annotations

from fractions import Fraction

from lowres_d2.layers.one_bit import BinaryConv2d
from lowres_d2.modeling import LowResDetector
from lowres_d2.modeling.backbone import SmallShortcutResNet
from lowres_d2.modeling.objectives import ForegroundRefinement, ImageDecoder
from lowres_d2.modeling.objectives.foreground.mask import object_mask
from lowres_d2.modeling.one_bit import binarized
from lowres_d2.modeling.resample import Bicubic, Identity
from lowres_d2.structures import ObjectiveContext

import numpy as np
import pytest
import torch
from detectron2.structures import Boxes, Instances
from detectron2.utils.events import EventStorage
from torch import nn

from toys.detectors import CHANNELS, DETECTORS, fcos, training_input

ALL = ("object", "background", "image")
STRIDES = {"p2": 4, "p3": 8, "p4": 16}


class Given(nn.Module):
    """A decoder whose image is the level itself."""

    image_channels = 3

    def forward(self, features):
        return features["p2"]


def of(decoded, images, boxes, factor=1, losses=ALL, **arguments):
    """Losses of decoded images, images of the detector and boxes in the full-resolution frame."""
    objective = ForegroundRefinement(Given(), losses, **arguments)
    truth = [Instances((1, 1), gt_boxes=Boxes(torch.tensor(b).view(-1, 4).float())) for b in boxes]
    context = ObjectiveContext(
        images=[torch.empty(3, 1, 1)] * len(images),
        low_res_images=images,
        ground_truth=truth,
        factor=Fraction(factor),
        student_taps={objective.features: [{"p2": decoded}]},
        teacher_taps={},
    )
    return objective(context)


def batch():
    """Two images of other sizes padded to 8 x 9; the first has two objects, the second none."""
    generator = torch.Generator().manual_seed(0)
    images = [torch.rand(3, *size, generator=generator) for size in ((6, 9), (8, 5))]
    decoded = torch.randn(2, 3, 8, 9, generator=generator)
    return decoded, images, [[[1, 2, 4, 5], [3, 1, 7.5, 4]], []]


def mask_of(boxes, height, width):
    """Eq. 7, pixel by pixel."""
    mask = np.zeros((height, width), bool)
    for i in range(height):
        for j in range(width):
            for x0, y0, x1, y1 in boxes:
                mask[i, j] |= x0 <= j + 0.5 <= x1 and y0 <= i + 0.5 <= y1
    return mask


@pytest.mark.parametrize("reduction", ["sum", "mean", "per_region"])
@pytest.mark.parametrize("normalised", [False, True])
def test_equals_equation_10_in_numpy(reduction, normalised):
    decoded, images, boxes = batch()
    mean, std = ([100.0, 110.0, 120.0], [50.0, 60.0, 70.0]) if normalised else ([0] * 3, [255] * 3)
    expected = {name: [] for name in ALL}
    for phi, image, objects in zip(decoded.numpy(), images, boxes, strict=True):
        x = (image.numpy() * 255 - np.reshape(mean, (3, 1, 1))) / np.reshape(std, (3, 1, 1))
        _, height, width = x.shape
        phi, m = phi[:, :height, :width], mask_of(objects, height, width)
        values = {
            "object": np.abs(m * phi - m * x),
            "background": np.abs((1 - m) * phi),
            "image": np.abs(phi - x),
        }
        of_region = {"object": m.sum(), "background": (1 - m).sum(), "image": m.size}
        for name, value in values.items():
            pixels = dict(sum=1 / 3, mean=m.size, per_region=max(of_region[name], 1 / 3))[reduction]
            expected[name].append(value.sum() / (3 * pixels))
    pixels = dict(pixel_mean=mean, pixel_std=std) if normalised else {}
    found = of(decoded, images, boxes, reduction=reduction, **pixels)
    for name, values in expected.items():
        assert found[name].item() == pytest.approx(np.mean(values), rel=1e-5), name


def test_both_losses_are_equation_9():
    decoded, images, boxes = batch()
    images, boxes = images[:1], boxes[:1]
    found = of(decoded[:1], images, boxes, reduction="sum")
    target = images[0].numpy() * mask_of(boxes[0], 6, 9)
    whole = np.abs(decoded[0, :, :6].numpy() - target).sum()
    assert (found["object"] + found["background"]).item() == pytest.approx(whole, rel=1e-5)


@pytest.mark.parametrize("reduction", ["sum", "mean", "per_region"])
def test_a_batch_is_the_mean_of_its_images(reduction):
    decoded, images, boxes = batch()
    both = of(decoded, images, boxes, reduction=reduction)
    alone = [
        of(phi[None], [x], [b], reduction=reduction)
        for phi, x, b in zip(decoded, images, boxes, strict=True)
    ]
    for name, value in both.items():
        torch.testing.assert_close(value, (alone[0][name] + alone[1][name]) / 2)


def test_what_is_decoded_in_the_padding_counts_nothing():
    decoded, images, boxes = batch()
    other = decoded.clone()
    other[0, :, 6:] = 7
    other[1, :, :, 5:] = -7
    assert of(other, images, boxes) == of(decoded, images, boxes)


@pytest.mark.parametrize("axis", [1, 2])
def test_mirrored_images_have_the_same_losses(axis):
    decoded, images, boxes = batch()
    _, height, width = images[0].shape
    mirrored = torch.tensor(boxes[0]).clone()
    first, last = (1, 3) if axis == 1 else (0, 2)
    mirrored[:, [first, last]] = (height if axis == 1 else width) - mirrored[:, [last, first]]
    plain = of(decoded[:1, :, :6], images[:1], boxes[:1])
    found = of(decoded[:1, :, :6].flip(axis + 1), [images[0].flip(axis)], [mirrored.tolist()])
    for name, value in plain.items():
        torch.testing.assert_close(found[name], value)


def test_boxes_are_in_the_frame_of_the_detectors_input():
    decoded, images, boxes = batch()
    larger = [[[1.5 * edge for edge in box] for box in objects] for objects in boxes]
    assert of(decoded, images, larger, factor=Fraction(3, 2)) == of(decoded, images, boxes)


def test_the_losses_of_table_1_are_chosen_by_name():
    assert list(of(*batch(), losses=["image"])) == ["image"]
    assert list(of(*batch(), losses=["background", "object"])) == ["background", "object"]


def test_the_image_is_a_target_and_learns_nothing():
    decoded, images, boxes = batch()
    for tensor in (decoded, *images):
        tensor.requires_grad_()
    sum(of(decoded, images, boxes, losses=ALL[:2]).values()).backward()
    assert decoded.grad[0, :, :6].all() and not decoded.grad[0, :, 6:].any()
    assert all(image.grad is None for image in images)


def test_an_image_without_boxes_is_named_as_such():
    objective = ForegroundRefinement(Given())
    features = {objective.features: [{"p2": torch.zeros(1, 3, 4, 4)}]}
    image = [torch.zeros(3, 4, 4)]
    for truth in (None, 3, Instances((4, 4))):
        context = ObjectiveContext(image, image, [truth], Fraction(1), features, {})
        with pytest.raises(ValueError, match="'foreground' needs boxes, and an image has none"):
            objective(context)


def test_a_module_without_levels_is_named():
    objective = ForegroundRefinement(Given(), features="backbone.fpn_output2")
    taps = {objective.features: [torch.zeros(1, 3, 4, 4)]}
    context = ObjectiveContext([], [], [], Fraction(1), taps, {})
    with pytest.raises(ValueError, match=r"backbone\.fpn_output2 gives no dict of feature maps"):
        objective(context)


@pytest.mark.parametrize(
    ("box", "rows", "columns"),
    [
        ([1, 1, 3, 2], [1], [1, 2]),  # whole pixels
        ([0.5, 0.5, 2.5, 1.5], [0, 1], [0, 1, 2]),  # centres on the border are inside
        ([0.6, 0.6, 1.4, 1.4], [], []),  # between centres
        ([1.4, 2.4, 1.6, 2.6], [2], [1]),  # a tiny object around a centre
        ([-5, -5, 20, 20], [0, 1, 2], [0, 1, 2, 3]),  # beyond the image
        ([-5, -5, -1, 20], [], []),  # outside
        ([3, 2, 4, 3], [2], [3]),  # the last pixel
        ([3.6, 0, 4, 3], [], []),  # a sliver at the border
    ],
)
def test_a_pixel_is_in_a_box_if_its_centre_is(box, rows, columns):
    mask = object_mask(torch.tensor([box]).float(), (3, 4))
    expected = torch.zeros(3, 4, dtype=torch.bool)
    for row in rows:
        expected[row, columns] = True
    assert torch.equal(mask, expected)


def test_the_mask_of_many_boxes_is_their_union():
    generator = np.random.default_rng(0)
    corners = np.sort(generator.uniform(-3, 23, (300, 2, 2)), axis=1).reshape(-1, 4)
    corners[:, 2:] = corners[:, :2] + (corners[:, 2:] - corners[:, :2]) / 6
    found = object_mask(torch.from_numpy(corners).float(), (17, 20))
    assert np.array_equal(found.numpy(), mask_of(corners.astype(np.float32), 17, 20))


def test_the_decoder_puts_each_level_in_its_place():
    """Levels that are bright at one place make an image that differs there alone."""
    decoder = ImageDecoder(list(STRIDES), STRIDES, channels=1, width=2, depth=1, norm="")
    dark = {level: torch.zeros(1, 1, 96 // s, 128 // s) for level, s in STRIDES.items()}
    for level, stride in STRIDES.items():
        bright = {name: cells.clone() for name, cells in dark.items()}
        bright[level][0, 0, 2, 4] = 1
        changed = (decoder(bright) - decoder(dark)).abs().amax(dim=(0, 1)) > 1e-7
        rows, columns = changed.nonzero().float().unbind(dim=1)
        # Of the same distance on both sides of the cell, up to the kernels of 4 without a centre.
        assert abs((rows.min() + rows.max() + 1) / 2 - 2.5 * stride) <= stride / 2
        assert abs((columns.min() + columns.max() + 1) / 2 - 4.5 * stride) <= stride / 2


def test_a_coarse_level_of_an_odd_number_of_cells_is_cut_off():
    """P6 of 96 pixels has two cells, of which the image is one and a half."""
    decoder = ImageDecoder(["p2", "p6"], {"p2": 4, "p6": 64}, channels=1, width=2, depth=1, norm="")
    features = {"p2": torch.randn(1, 1, 24, 24), "p6": torch.randn(1, 1, 2, 2)}
    assert decoder(features).shape == (1, 3, 96, 96)


def model(resampler=None, **arguments):
    torch.manual_seed(0)
    decoder = ImageDecoder(list(STRIDES), STRIDES, CHANNELS, width=4, depth=1)
    objective = ForegroundRefinement(decoder, **arguments)
    weights = {"foreground": 0.04}
    return LowResDetector(
        fcos(), resampler or Identity(), objectives=[objective], loss_weights=weights
    )


def trained(whole, batch):
    """Losses of a batch; upstream's detectors log into the storage."""
    with EventStorage():
        return whole(batch)


def test_the_loss_trains_the_decoder_and_the_detector_up_to_its_levels():
    whole = model(reduction="per_region")
    whole.loss_terms.active = ["foreground"]
    losses = trained(whole, [training_input(50, 70), training_input(64, 40, seed=1)])
    assert sorted(losses) == ["loss_foreground_background", "loss_foreground_object"]
    sum(losses.values()).backward()
    parts = {
        name.split(".")[1] if name.startswith("detector") else name.split(".")[0]
        for name, parameter in whole.named_parameters()
        if parameter.grad is not None and parameter.grad.any()
    }
    assert parts == {"backbone", "objectives"}
    assert all(p.grad is not None for p in whole.objectives.parameters())


@pytest.mark.parametrize("name", ["fcos", "retinanet", "faster_rcnn_fpn"])
def test_it_trains_the_1_bit_layers_of_a_detector(name):
    torch.manual_seed(0)
    detector = DETECTORS[name]()
    detector.backbone.bottom_up = SmallShortcutResNet(channels=(8, 12, 16, 20, 24))
    decoder = ImageDecoder(["p2", "p3", "p4"], STRIDES, CHANNELS, width=4, depth=1)
    detector = binarized(detector)
    objective = ForegroundRefinement(decoder)
    whole = LowResDetector(detector, Identity(), objectives=[objective])
    whole.loss_terms.active = ["foreground"]
    losses = trained(whole, [training_input(50, 70), training_input(64, 40, seed=1)])
    sum(losses.values()).backward()
    layers = {p: m for p, m in detector.named_modules() if isinstance(m, BinaryConv2d)}
    reached = {p for p, m in layers.items() if m.weight.grad is not None and m.weight.grad.any()}
    # p5 is not decoded: what leads to it alone stays.
    alone = {p for p in layers if not p.startswith("backbone") or p.endswith("_output5")}
    assert reached == layers.keys() - alone and len(reached) > 8
    assert not any(isinstance(m, BinaryConv2d) for m in objective.modules())


def test_the_decoders_image_is_of_the_detectors_input():
    batch = [training_input(100, 140), training_input(128, 80, seed=1)]
    losses = trained(model(Bicubic(2)), batch)
    assert all(x.isfinite() for x in losses.values()) and "loss_foreground_object" in losses


def test_a_decoder_overfits_an_object_on_an_empty_background():
    """One image: 100 iterations bring the loss to a fraction of that of an empty image."""
    torch.manual_seed(0)
    decoder = ImageDecoder(["p2"], {"p2": 4}, channels=8, width=8, depth=1)
    level = nn.Parameter(torch.randn(1, 8, 8, 8))
    image = torch.linspace(0.2, 0.9, 3 * 32 * 32).view(3, 32, 32)
    boxes = [[[5, 9, 17, 22]]]
    optimizer = torch.optim.Adam([level, *decoder.parameters()], lr=0.02)
    empty = of(torch.zeros(1, 3, 32, 32), [image], boxes, reduction="mean")
    for _ in range(100):
        losses = of(decoder({"p2": level}), [image], boxes, reduction="mean")
        total = losses["object"] + losses["background"]
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
    assert total < 0.3 * empty["object"]
