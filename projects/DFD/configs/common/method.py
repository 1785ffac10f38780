"""The parts of the paper: low-resolution images (Sec. 2.2), Eq. 1, lambda of Eq. 4, teacher."""

from lowres_d2.engine.stages import Stage
from lowres_d2.modeling.objectives import FeatureDistillation, FeaturePair
from lowres_d2.modeling.resample import DownUp
from lowres_d2.modeling.teacher import Teacher

from detectron2.config import LazyCall as L

degraded = L(DownUp)(
    # s: 4 makes 8x8 pixels of 32x32, 2 makes 16x16; then the image gets its old size again.
    factor=4,
    # Used downwards and upwards: bicubic, bilinear or box (the paper does not say).
    interpolation="bicubic",
)

# Eq. 1.
features = L(FeatureDistillation)(
    # The input of the last fully connected layer, after ReLU and before dropout.
    pairs=[L(FeaturePair)(student="features")],
    # euclidean (half the squared distance, summed over the d features) or squared (their mean).
    distance="euclidean",
)

# lambda of Eq. 4.
loss_weights = dict(feature=2.0)

# A network like the student's, at high resolution; recipes give its weights.
teacher = L(Teacher)(model="${..detector}")

# Sec. 2.2: "After getting pre-trained models, we fine-tune the student model". Both halves of the
# run have the recipe's whole learning-rate curve.
pretrained_student = [
    L(Stage)(name="labels", iterations=0.5, losses=["detector"]),
    L(Stage)(name="distillation"),
]
