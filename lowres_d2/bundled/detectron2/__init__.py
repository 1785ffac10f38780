"""A core with Detectron2's API, for machines without upstream Detectron2.

It must be imported as ``detectron2`` (``import lowres_d2`` arranges that): under a second
name every class would exist twice and no ``isinstance`` check would hold.
"""

if __name__ != "detectron2":
    raise ImportError(
        f"{__name__} must not be imported by this name: write `import lowres_d2`, then "
        "`import detectron2`"
    )

from detectron2._uncovered import install_module_finder
from detectron2.utils.env import setup_environment

__version__ = "0.6"

install_module_finder()
setup_environment()
