#!/usr/bin/env python3
"""Convert the authors' or Hugging Face's weights: ``convert_deformable_detr.py RECIPE IN OUT``."""

import lowres_d2  # noqa: F401  (first: it decides which Detectron2 runs)
from lowres_d2.programs.convert_deformable_detr import main

if __name__ == "__main__":
    main()
