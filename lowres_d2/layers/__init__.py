"""Layers that Detectron2 and torchvision do not have."""
