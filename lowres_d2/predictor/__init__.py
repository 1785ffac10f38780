"""From images to what is on them, in a program of one's own: ``lowres_d2.load``."""

from lowres_d2.predictor.loading import load
from lowres_d2.predictor.predictor import Classification, Predictor

__all__ = ["Classification", "Predictor", "load"]
