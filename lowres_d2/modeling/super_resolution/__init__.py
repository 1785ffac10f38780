"""Networks that super-resolve images, and what SRGAN needs to train one."""

from lowres_d2.modeling.super_resolution.espcn import ESPCN
from lowres_d2.modeling.super_resolution.feature_content import FeatureContent
from lowres_d2.modeling.super_resolution.image_discriminator import ImageDiscriminator
from lowres_d2.modeling.super_resolution.srresnet import SRResNet
from lowres_d2.modeling.super_resolution.vdsr import VDSR

__all__ = ["ESPCN", "VDSR", "FeatureContent", "ImageDiscriminator", "SRResNet"]
