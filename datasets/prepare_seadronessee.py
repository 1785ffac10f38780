#!/usr/bin/env python3
"""Check and count SeaDronesSee."""

import lowres_d2  # noqa: F401  (first: it decides which Detectron2 runs)
from lowres_d2.programs.prepare_seadronessee import main

if __name__ == "__main__":
    main()
