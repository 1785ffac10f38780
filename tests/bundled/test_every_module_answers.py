"""Modules and names of upstream Detectron2: each can be imported; what is uncovered says so."""

from __future__ import annotations

import importlib

import lowres_d2

import pytest

bundled_only = pytest.mark.skipif(
    lowres_d2.detectron2_provider() != "bundled", reason="upstream has them"
)

# Those that a detector of boxes may import; each of upstream's modules, caffe2's aside.
MODULES = """
checkpoint checkpoint.c2_model_loading checkpoint.catalog checkpoint.detection_checkpoint
config config.compat config.config config.defaults config.instantiate config.lazy
data data.benchmark data.build data.catalog data.common data.dataset_mapper data.datasets
data.datasets.builtin data.datasets.builtin_meta data.datasets.cityscapes
data.datasets.cityscapes_panoptic data.datasets.coco data.datasets.coco_panoptic data.datasets.lvis
data.datasets.lvis_v0_5_categories data.datasets.lvis_v1_categories
data.datasets.lvis_v1_category_image_count data.datasets.pascal_voc data.datasets.register_coco
data.detection_utils data.samplers data.samplers.distributed_sampler
data.samplers.grouped_batch_sampler data.transforms data.transforms.augmentation
data.transforms.augmentation_impl data.transforms.transform
engine engine.defaults engine.hooks engine.launch engine.train_loop
evaluation evaluation.cityscapes_evaluation evaluation.coco_evaluation evaluation.evaluator
evaluation.lvis_evaluation evaluation.panoptic_evaluation evaluation.pascal_voc_evaluation
evaluation.rotated_coco_evaluation evaluation.sem_seg_evaluation evaluation.testing
layers layers.aspp layers.batch_norm layers.blocks layers.deform_conv layers.losses layers.mask_ops
layers.nms layers.roi_align layers.roi_align_rotated layers.rotated_boxes layers.shape_spec
layers.wrappers model_zoo model_zoo.model_zoo
modeling modeling.anchor_generator modeling.backbone modeling.backbone.backbone
modeling.backbone.build modeling.backbone.fpn modeling.backbone.mvit modeling.backbone.regnet
modeling.backbone.resnet modeling.backbone.swin modeling.backbone.utils modeling.backbone.vit
modeling.box_regression modeling.matcher modeling.meta_arch modeling.meta_arch.build
modeling.meta_arch.dense_detector modeling.meta_arch.fcos modeling.meta_arch.panoptic_fpn
modeling.meta_arch.rcnn modeling.meta_arch.retinanet modeling.meta_arch.semantic_seg
modeling.mmdet_wrapper modeling.poolers modeling.postprocessing modeling.proposal_generator
modeling.proposal_generator.build modeling.proposal_generator.proposal_utils
modeling.proposal_generator.rpn modeling.proposal_generator.rrpn modeling.roi_heads
modeling.roi_heads.box_head modeling.roi_heads.cascade_rcnn modeling.roi_heads.fast_rcnn
modeling.roi_heads.keypoint_head modeling.roi_heads.mask_head modeling.roi_heads.roi_heads
modeling.roi_heads.rotated_fast_rcnn modeling.sampling modeling.test_time_augmentation
projects.point_rend solver solver.build solver.lr_scheduler
structures structures.boxes structures.image_list structures.instances structures.keypoints
structures.masks structures.rotated_boxes tracking tracking.base_tracker
utils utils.analysis utils.collect_env utils.colormap utils.comm utils.develop utils.env
utils.events utils.file_io utils.logger utils.memory utils.registry utils.serialize utils.testing
utils.torch_version_utils utils.tracing utils.video_visualizer utils.visualizer
"""


@bundled_only
@pytest.mark.parametrize("name", MODULES.split())
def test_every_module_can_be_imported(name):
    assert importlib.import_module(f"detectron2.{name}").__name__ == f"detectron2.{name}"


@bundled_only
@pytest.mark.parametrize(
    "name",
    [
        "data.datasets.builtin.register_all_lvis",
        "data.datasets.lvis_v1_categories.LVIS_CATEGORIES",
        "data.transforms.augmentation_impl.RandomCrop_CategoryAreaConstraint",
        "evaluation.pascal_voc_evaluation.voc_eval",
        "modeling.backbone.regnet.RegNet",
        "modeling.backbone.swin.SwinTransformer",
        "modeling.backbone.utils.window_partition",
        "modeling.backbone.vit.SimpleFeaturePyramid",
        "modeling.meta_arch.panoptic_fpn.PanopticFPN",
        "modeling.meta_arch.semantic_seg.SemSegFPNHead",
        "solver.build.GradientClipType",
        "utils.tracing.assert_fx_safe",
    ],
)
def test_uncovered_names_need_upstream(name):
    module, _, attribute = name.rpartition(".")
    with pytest.raises(NotImplementedError, match=f"{attribute} needs upstream Detectron2"):
        getattr(importlib.import_module(f"detectron2.{module}"), attribute)()


@pytest.mark.parametrize(
    ("module", "attribute", "home"),
    [
        # Some that projects on Detectron2 import from where they are used, not made.
        ("data.common", "_shard_iterator_dataloader_worker", None),
        ("data.transforms.augmentation", "_get_aug_input_args", None),
        ("engine.defaults", "AMPTrainer", "engine.train_loop"),
        ("engine.hooks", "HookBase", "engine.train_loop"),
        ("evaluation.coco_evaluation", "COCOevalMaxDets", None),
        (
            "modeling.meta_arch.retinanet",
            "permute_to_N_HWA_K",
            "modeling.meta_arch.dense_detector",
        ),
        ("modeling.proposal_generator.rpn", "find_top_rpn_proposals", None),
        ("evaluation.coco_evaluation", "_evaluate_box_proposals", None),
        ("modeling.backbone.fpn", "_assert_strides_are_log2_contiguous", None),
        ("utils.logger", "_log_api_usage", None),
        ("data.datasets.builtin_meta", "_get_coco_instances_meta", None),
    ],
)
def test_names_are_where_upstream_has_them(module, attribute, home):
    found = getattr(importlib.import_module(f"detectron2.{module}"), attribute)
    if home is not None:
        assert found is getattr(importlib.import_module(f"detectron2.{home}"), attribute)
    assert callable(found)


@bundled_only
def test_a_module_that_upstream_lacks_is_not_found():
    with pytest.raises(ModuleNotFoundError, match=r"detectron2\.modeling\.backbone\.convnext"):
        importlib.import_module("detectron2.modeling.backbone.convnext")
