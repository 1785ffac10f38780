"""DFD's quick recipe: its losses are the paper's equations, and only the student learns."""

import lowres_d2  # noqa: F401
from lowres_d2.data.classification import build_array_train_loader
from lowres_d2.data.plates import PlatesClassification
from lowres_d2.recipes.load import load_recipe

import numpy as np
import pytest
import torch
from detectron2.config import instantiate
from detectron2.utils.events import EventStorage

LAMBDA = 2.0


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    return PlatesClassification(tmp_path_factory.mktemp("plates"), num_images=16, num_workers=0)


@pytest.fixture
def model():
    torch.manual_seed(0)
    cfg = load_recipe("projects/DFD/configs/quick/dfd4_resnet18_small_8_plates.py")
    cfg.model.teacher.checkpoint = None
    assert cfg.model.loss_weights.feature == LAMBDA
    return instantiate(cfg.model).train()


def batch_of(images, number=16):
    return next(iter(build_array_train_loader(images, number, 0, crop_padding=0, flip=False)))


def losses_of(model, batch):
    with EventStorage():
        return model(batch)


def logits_and_features(classifier, images):
    seen = []
    hook = classifier.features.register_forward_hook(lambda *called: seen.append(called[-1]))
    outputs = classifier._logits(classifier._images([{"image": 255 * image} for image in images]))
    hook.remove()
    return outputs.detach().numpy(), seen[0].detach().numpy()


def test_losses_are_equations_1_to_4_in_numpy(model, images):
    batch = batch_of(images)
    full = [x["image"] / 255 for x in batch]
    losses = losses_of(model, batch)
    with torch.no_grad():
        logits, student = logits_and_features(model.detector, model.resampler(full))
        _, teacher = logits_and_features(model.teacher.model, full)
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)  # Eq. 2
    recognition = -np.log(p[np.arange(16), [x["label"] for x in batch]])  # Eq. 3
    distillation = 0.5 * ((student - teacher) ** 2).sum(axis=1)  # Eq. 1
    assert student.shape == (16, 64)
    found = {name: loss.item() for name, loss in losses.items()}
    assert found == pytest.approx(
        {
            "loss_cls": recognition.mean(),
            "loss_feature_features": LAMBDA * distillation.mean(),  # Eq. 4
        },
        rel=1e-4,
    )


def test_gradients_reach_the_student_alone(model, images):
    before = {key: value.clone() for key, value in model.teacher.model.state_dict().items()}
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        sum(losses_of(model, batch_of(images)).values()).backward()
        optimizer.step()
    assert all(p.grad.abs().sum() > 0 for p in model.detector.parameters())
    assert all(p.grad is None for p in model.teacher.model.parameters())
    after = model.teacher.model.state_dict()
    assert all(torch.equal(before[key], value) for key, value in after.items())


def test_without_its_weight_the_last_layer_is_not_reached_by_distillation(model, images):
    loss = losses_of(model, batch_of(images))["loss_feature_features"]
    loss.backward()
    # Features are this layer's input.
    assert all(p.grad is None for p in model.detector.classifier.parameters())
    assert model.detector.backbone.stem.conv1.weight.grad.abs().sum() > 0


def test_it_overfits_sixteen_images_and_comes_close_to_the_teachers_features(model, images):
    batch = batch_of(images)
    teacher = model.teacher.model
    overfit(teacher.train().requires_grad_(True), batch)
    teacher.eval().requires_grad_(False)
    history = overfit(model, batch)
    for name in ("loss_cls", "loss_feature_features"):
        assert history[-1][name] < 0.1 * history[0][name]


def overfit(network, batch):
    """The losses of each iteration."""
    weights = [p for p in network.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=3e-3)
    history = []
    for _ in range(40):
        optimizer.zero_grad()
        losses = losses_of(network, batch)
        history.append({name: loss.item() for name, loss in losses.items()})
        sum(losses.values()).backward()
        optimizer.step()
    return history
