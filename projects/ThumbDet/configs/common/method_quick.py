"""The parts for the quick recipes: the small FCOS, and more losses than the paper's."""

from lowres_d2.engine.stages import Stage
from lowres_d2.modeling.objectives import DenseLogitDistillation, FeatureDistillation, FeaturePair
from lowres_d2.modeling.teacher import Tap

from detectron2.config import LazyCall as L

from .method import dense_logits, features_fpn, loss_weights

# The levels of the small FCOS.
dense_logits.strides = [4, 8, 16, 32]
# A pixel of a 4x thumbnail covers a cell of the teacher's res2 (stride 4, 32 channels): the three
# colours, through a 1x1 convolution, have to predict the teacher's features there.
thumbnail_features = L(FeatureDistillation)(
    pairs=[
        L(FeaturePair)(
            student=L(Tap)(path="backbone.bottom_up.stem", call=0, side="input"),
            student_stride=1,
            teacher="backbone.bottom_up.res2",
            teacher_stride=4,
            channels=(3, 32),
        )
    ],
    name="thumbnail",
)

# In the end, distillation and ground truth pull in different directions, the more so the smaller
# the student: "On the Efficacy of Knowledge Distillation", ICCV 2019, stops the former early, too.
labels_alone = L(Stage)(name="labels", iterations=0.4, losses=["detector"], continues=True)

# A detector with maps at strides 8 to 32, at the teacher's resolution: its stages learn res3 to
# res5, its head the teacher's four levels.
distillation_of_early = [
    L(FeatureDistillation)(
        pairs=[
            L(FeaturePair)(
                student=f"backbone.bottom_up.res{stage}",
                student_stride=4 * 2 ** (stage - 1),
                teacher=f"backbone.bottom_up.res{stage + 1}",
                channels=channels,
            )
            for stage, channels in ((2, [16, 48]), (3, [32, 96]), (4, [48, 128]))
        ]
    ),
    L(DenseLogitDistillation)(
        strides=[8, 16, 32], teacher_strides=[4, 8, 16, 32], form="focal", threshold=0.5
    ),
]
