"""AI-TOD-v2: the images of AI-TOD with the annotations of Xu et al. (ISPRS 2022)."""

from .aitod import _ROOT, dataloader

dataloader.train.dataset.json_file = f"{_ROOT}/annotations/aitodv2_trainval.json"
dataloader.test.dataset.json_file = f"{_ROOT}/annotations/aitodv2_test.json"
