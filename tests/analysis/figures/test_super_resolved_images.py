"""The sheet of super-resolved images: which images, in which rows, with which PSNR."""

from lowres_d2.analysis.figures import super_resolved_images
from lowres_d2.analysis.figures.super_resolved_images import write_super_resolved
from lowres_d2.evaluation import SuperResolutionEvaluator
from lowres_d2.modeling import LowResDetector
from lowres_d2.modeling.backbone import CifarAlexNet
from lowres_d2.modeling.meta_arch import ImageClassifier, SuperResolver
from lowres_d2.modeling.resample import Identity
from lowres_d2.modeling.super_resolution import ESPCN, VDSR

import numpy as np
import pytest
import torch
from PIL import Image

SIDE = 32


@pytest.fixture
def dataset():
    generator = torch.Generator().manual_seed(0)
    return [
        {
            "image": torch.randint(0, 256, (3, SIDE, SIDE), generator=generator).byte(),
            **dict(height=SIDE, width=SIDE, image_id=k + 1, label=0),
        }
        for k in range(5)
    ]


def composed(network, **arguments):
    torch.manual_seed(0)
    return LowResDetector(SuperResolver(network, **arguments), Identity())


@pytest.fixture
def drawn(monkeypatch):
    """Rows as they are drawn: title, images, texts."""
    rows, draw = [], super_resolved_images._row

    def record(title, images, texts, image_format):
        rows.append((title, images, list(texts)))
        return draw(title, images, texts, image_format)

    monkeypatch.setattr(super_resolved_images, "_row", record)
    return rows


def test_rows_are_those_of_the_papers_figure(dataset, drawn, tmp_path):
    models = {"ESPCN": composed(ESPCN(width=4)), "VDSR": composed(VDSR(width=2, depth=2)).detector}
    models["VDSR"].train()
    path = write_super_resolved(tmp_path / "sheet.png", dataset, models, images=3)
    assert [title for title, *_ in drawn] == ["HR", "LR", "bicubic", "ESPCN", "VDSR"]
    assert models["VDSR"].training
    assert all(len(images) == len(texts) == 3 for _, images, texts in drawn)
    shapes = [tuple(images[0].shape) for _, images, _ in drawn]
    assert shapes == [(3, 16, 16), (3, 8, 8), *[(3, 16, 16)] * 3]
    assert drawn[0][2][0] == "16 x 16" and drawn[1][2][0] == "8 x 8"
    for title, model in models.items():
        evaluator = SuperResolutionEvaluator(dataset[:1])
        with torch.no_grad():
            evaluator.process(dataset[:1], model.eval()(dataset[:1]))
        found = evaluator.evaluate()["super_resolution"]
        (texts,) = (texts for name, _, texts in drawn if name == title)
        assert texts[0] == f"{found['psnr']:.1f} dB"
        assert drawn[2][2][0] == f"{found['psnr-bicubic']:.1f} dB"
    assert min(Image.open(path).size) > 400


def test_more_images_than_a_row_has_go_into_further_rows(dataset, drawn, tmp_path):
    models = {"ESPCN": composed(ESPCN(width=4))}
    write_super_resolved(tmp_path / "sheet.png", dataset * 2, models, images=10)
    assert [(title, len(images)) for title, images, _ in drawn] == [
        (title, number) for number in (8, 2) for title in ("HR", "LR", "bicubic", "ESPCN")
    ]


def test_each_pixel_is_a_square_of_its_colour():
    image = torch.rand(3, 8, 4, generator=torch.Generator().manual_seed(0))
    cell = np.asarray(super_resolved_images._square(image, "RGB"))
    assert cell.shape == (144, 144, 3)
    expected = (255 * image).round().byte().permute(1, 2, 0).numpy()
    assert (cell[9::18, 9:72:18] == expected).all()
    assert (cell[:, 72:] == 255).all()
    swapped = np.asarray(super_resolved_images._square(image, "BGR"))
    assert (swapped[9::18, 9:72:18] == expected[..., ::-1]).all()


def test_models_of_other_pairs_or_kinds_are_refused(dataset, tmp_path):
    path, one = tmp_path / "sheet.png", composed(ESPCN(width=4))
    box = composed(ESPCN(width=4), interpolation="box")
    with pytest.raises(ValueError, match="b has other pairs than a: give all the same low_factor"):
        write_super_resolved(path, dataset, {"a": one, "b": box})
    other = composed(ESPCN(width=4), low_factor=8)
    with pytest.raises(ValueError, match="b has other pairs than a"):
        write_super_resolved(path, dataset, {"a": one, "b": other})
    classifier = ImageClassifier(CifarAlexNet(width=2), 3, [125.0] * 3, [62.0] * 3)
    with pytest.raises(ValueError, match="c: its model is no SuperResolver"):
        write_super_resolved(path, dataset, {"c": classifier})
    assert not path.exists()
