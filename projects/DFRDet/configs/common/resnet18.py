"""ResNet-18 with a shortcut around each convolution and PReLU (Sec. 4.1), P2 to P6's backbone."""

from .....configs.common.models.shortcut_resnet18 import resnet18

resnet18.out_features = ["res2", "res3", "res4", "res5"]
