"""The web page's examples: generated plates, which it makes at its start."""

from __future__ import annotations

from pathlib import Path

from lowres_d2.data.plates import PlatesDataset

MADE = 8  # images of each variant
SHOWN = {"standard": 4, "tiny": 1}  # of each variant, those with the most objects


def make_examples(folder: Path) -> list[str]:
    """Write the examples: images of the test split, which the quick models have not seen.

    Args:
        folder: a new one.

    Returns:
        Their files.
    """
    files = []
    for variant, number in SHOWN.items():
        plates = PlatesDataset(folder, "test", MADE, variant=variant, num_workers=0)
        by_objects = sorted(plates, key=lambda entry: -len(entry["annotations"]))
        files += [entry["file_name"] for entry in by_objects[:number]]
    return files
