"""Distillation of dense heads, which predict in every cell of a feature map."""
