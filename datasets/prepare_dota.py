#!/usr/bin/env python3
"""Check and count DOTA, and cut its images into tiles."""

import sys

from lowres_d2.programs.command import main

if __name__ == "__main__":
    main(["prepare-dota", *sys.argv[1:]])
