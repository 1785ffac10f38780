"""Hooks of Detectron2's trainer."""
