#!/usr/bin/env python3
"""Check and count SeaDronesSee."""

import sys

from lowres_d2.programs.command import main

if __name__ == "__main__":
    main(["prepare-seadronessee", *sys.argv[1:]])
