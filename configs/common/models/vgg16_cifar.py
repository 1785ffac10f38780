"""VGG-16 for 32x32 images, with batch norm and two hidden layers of 512: 15.2 M parameters."""

from lowres_d2.modeling.backbone import CifarVGG16

from .resnet18_cifar import model

model.backbone._target_ = CifarVGG16
model.hidden = [512, 512]
model.hidden_norm = True
model.dropout = 0.5
