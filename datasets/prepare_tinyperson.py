#!/usr/bin/env python3
"""Check and count TinyPerson."""

import sys

from lowres_d2.programs.command import main

if __name__ == "__main__":
    main(["prepare-tinyperson", *sys.argv[1:]])
