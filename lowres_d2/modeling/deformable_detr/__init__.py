"""The parts of Deformable DETR (Zhu et al. 2021)."""
