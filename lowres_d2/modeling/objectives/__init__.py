"""Extra losses: their interface and its implementations."""

from lowres_d2.modeling.objectives.dense.box_distillation import DenseBoxDistillation
from lowres_d2.modeling.objectives.dense.logit_distillation import DenseLogitDistillation
from lowres_d2.modeling.objectives.features.distillation import FeatureDistillation, FeaturePair
from lowres_d2.modeling.objectives.foreground.decoder import ImageDecoder
from lowres_d2.modeling.objectives.foreground.refinement import ForegroundRefinement
from lowres_d2.modeling.objectives.moment_matching import MomentMatching
from lowres_d2.modeling.objectives.objective import Objective
from lowres_d2.modeling.objectives.proposal_distillation import ProposalLogitDistillation
from lowres_d2.modeling.objectives.query_distillation import QueryLogitDistillation
from lowres_d2.modeling.objectives.weight_reconstruction import WeightReconstruction

__all__ = [
    "DenseBoxDistillation",
    "DenseLogitDistillation",
    "FeatureDistillation",
    "FeaturePair",
    "ForegroundRefinement",
    "ImageDecoder",
    "MomentMatching",
    "Objective",
    "ProposalLogitDistillation",
    "QueryLogitDistillation",
    "WeightReconstruction",
]
