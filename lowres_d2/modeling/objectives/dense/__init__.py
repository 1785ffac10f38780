"""Distillation of heads that answer in every cell of a feature map."""
