"""Generate the embedded data set ahead of its first use, or the picture sheet of the README.

python tools/make_plates.py --split train --num-images 2000 --variant tiny
python tools/make_plates.py --sheet docs/plates.png
"""

from __future__ import annotations

import argparse
import logging

import lowres_d2  # noqa: F401 (first: it decides which Detectron2 runs)
from lowres_d2.data.datasets import PlatesClassification, PlatesDataset, plate_sheet
from lowres_d2.data.datasets.plates import SPLITS, VARIANTS

if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", default="datasets/plates", help="folder of generated sets")
    parser.add_argument("--split", default="train", choices=SPLITS)
    parser.add_argument("--num-images", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--variant", default="standard", choices=[*VARIANTS, "classification"])
    parser.add_argument(
        "--size-range", type=float, nargs=2, metavar=("LOW", "HIGH"), help="sizes in pixels"
    )
    parser.add_argument("--photos", help="folder of photographs for the backgrounds")
    parser.add_argument("--sheet", metavar="FILE", help="only save the picture sheet here")
    args = parser.parse_args()
    common = (args.root, args.split, args.num_images, args.seed)
    try:
        if args.sheet:
            plate_sheet(args.sheet, args.seed)
        elif args.variant == "classification":
            print(PlatesClassification(*common).folder)
        else:
            print(PlatesDataset(*common, args.variant, args.size_range, args.photos))
    except (ValueError, OSError) as error:
        parser.error(str(error))
