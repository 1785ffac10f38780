"""AlexNet for 32x32 images, with batch norm and AlexNet's two hidden layers: 23.3 M parameters."""

from lowres_d2.modeling.backbone import CifarAlexNet

from .resnet18_cifar import model

model.backbone._target_ = CifarAlexNet
model.pooled_size = 2
model.hidden = [4096, 4096]
model.hidden_norm = True
model.dropout = 0.5
