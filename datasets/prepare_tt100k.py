#!/usr/bin/env python3
"""Check and count Tsinghua-Tencent 100K; with ``--coco`` write it in COCO's form too."""

import sys

from lowres_d2.programs.command import main

if __name__ == "__main__":
    main(["prepare-tt100k", *sys.argv[1:]])
