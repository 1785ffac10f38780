"""The base detector: a small Faster R-CNN on generated plates of 6 to 96 px."""

from lowres_d2.modeling import LowResDetector
from lowres_d2.modeling.resample import Identity

from detectron2.config import LazyCall as L

from .....configs.common.data.plates import dataloader
from .....configs.common.models.faster_rcnn_small import model as detector
from .....configs.common.optim import AdamW as optimizer
from .....configs.common.schedule import one_cycle as lr_multiplier
from .....configs.common.train import train

# Less of what takes a CPU most of the time: NMS, regions, and gradients of their pooling.
detector.proposal_generator.pre_nms_topk = [500, 300]
detector.roi_heads.batch_size_per_image = 48
detector.roi_heads.pooler.output_size = 5
detector.roi_heads.pooler.sampling_ratio = 1

model = L(LowResDetector)(detector=detector, resampler=L(Identity)())

# Small objects are those that super-resolution is for: under 24 px.
dataloader.evaluator.size_ranges = dict(small=[0, 24], medium=[24, 48], large=[48, None])
dataloader.train.total_batch_size = 8
optimizer.lr = 6e-3
optimizer.weight_decay = 0.01
# 2000 images, 8 per iteration: 12 epochs.
train.max_iter = 3000
train.eval_period = 1500
train.checkpointer.period = 500
train.channels_last = True
train.amp.enabled = True
train.clip_gradients.enabled = True
train.clip_gradients.params.limit = 10.0
