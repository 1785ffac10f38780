"""Distillation of feature maps."""
