"""From a dataset dict to what a model takes: read the image, augment it, move the boxes along."""

from __future__ import annotations

import copy
import logging
from typing import Any

import numpy as np
import torch
from detectron2._uncovered import needs_upstream, uncovered

from . import detection_utils as utils
from . import transforms as T

__all__ = ["DatasetMapper"]

logger = logging.getLogger(__name__)


class DatasetMapper:
    """The usual mapper, for boxes.

    Args:
        is_train: whether annotations are wanted.
        augmentations: applied in this order.
        image_format: of the image, as `detection_utils.read_image` takes it.
        use_instance_mask: needs upstream.
        use_keypoint: needs upstream.
        instance_mask_format: of masks, which need upstream.
        keypoint_hflip_indices: needs upstream.
        precomputed_proposal_topk: needs upstream.
        recompute_boxes: from masks; needs upstream.
    """

    from_config = uncovered("DatasetMapper.from_config")

    def __init__(
        self,
        is_train: bool,
        *,
        augmentations: list[T.Augmentation | T.Transform],
        image_format: str,
        use_instance_mask: bool = False,
        use_keypoint: bool = False,
        instance_mask_format: str = "polygon",
        keypoint_hflip_indices: np.ndarray | None = None,
        precomputed_proposal_topk: int | None = None,
        recompute_boxes: bool = False,
    ):
        for name, value in (
            ("use_instance_mask", use_instance_mask),
            ("use_keypoint", use_keypoint),
            ("keypoint_hflip_indices", keypoint_hflip_indices is not None),
            ("precomputed_proposal_topk", precomputed_proposal_topk),
            ("recompute_boxes", recompute_boxes),
        ):
            if value:
                needs_upstream(f"DatasetMapper({name})")
        self.is_train = is_train
        self.augmentations = T.AugmentationList(augmentations)
        self.image_format = image_format
        self.use_instance_mask = use_instance_mask
        self.instance_mask_format = instance_mask_format
        self.use_keypoint = use_keypoint
        self.keypoint_hflip_indices = keypoint_hflip_indices
        self.proposal_topk = precomputed_proposal_topk
        self.recompute_boxes = recompute_boxes
        mode = "training" if is_train else "inference"
        logger.info(f"[DatasetMapper] Augmentations used in {mode}: {augmentations}")

    def __call__(self, dataset_dict: dict) -> dict[str, Any]:
        """Map one image.

        Args:
            dataset_dict: see `detectron2.data.build`; left as it is.

        Returns:
            A copy with `image` (C, H, W), in training `instances` in place of `annotations`, and
            `sem_seg` int64 (H, W) where a `sem_seg_file_name` was given.
        """
        mapped = copy.deepcopy(dataset_dict)  # the loader gives the same dict again next time
        image = utils.read_image(mapped["file_name"], format=self.image_format)
        utils.check_image_size(mapped, image)
        sem_seg = None
        if "sem_seg_file_name" in mapped:
            sem_seg = utils.read_image(mapped.pop("sem_seg_file_name"), "L").squeeze(2)

        aug_input = T.AugInput(image, sem_seg=sem_seg)
        transforms = self.augmentations(aug_input)
        image = aug_input.image
        mapped["image"] = torch.as_tensor(np.ascontiguousarray(image.transpose(2, 0, 1)))
        if not self.is_train:
            mapped.pop("annotations", None)
            return mapped
        if aug_input.sem_seg is not None:
            mapped["sem_seg"] = torch.as_tensor(aug_input.sem_seg.astype("long"))
        if "annotations" in mapped:
            self._transform_annotations(mapped, transforms, image.shape[:2])
        return mapped

    def _transform_annotations(
        self, dataset_dict: dict, transforms: T.Transform, image_shape: tuple[int, int]
    ) -> None:
        """Turn `annotations` into `instances`, in place; a hook for subclasses."""
        annotations = []
        for annotation in dataset_dict.pop("annotations"):
            if annotation.get("iscrowd", 0):
                continue
            boxed = {k: v for k, v in annotation.items() if k not in ("segmentation", "keypoints")}
            annotations.append(utils.transform_instance_annotations(boxed, transforms, image_shape))
        instances = utils.annotations_to_instances(
            annotations, image_shape, mask_format=self.instance_mask_format
        )
        dataset_dict["instances"] = utils.filter_empty_instances(instances)
