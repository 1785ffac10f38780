"""The weights that a run's folder stands for."""

from __future__ import annotations

from pathlib import Path

# Detectron2's names of weights in a run's folder, and of the file that names the last ones.
BEST, FINAL = "model_best.pth", "model_final.pth"
LAST = "last_checkpoint"


def weights_file(path: str | Path) -> str:
    """The path itself; of a run's folder the best weights, else the final, else the last ones.

    Args:
        path: a file or address of weights, or the folder of a run.

    Raises:
        FileNotFoundError: it is a folder without weights.
    """
    folder = Path(path)
    if not folder.is_dir():
        return str(path)
    names = [BEST, FINAL]
    last = folder / LAST
    if last.is_file():
        names.append(last.read_text(encoding="utf-8").strip())
    found = next((name for name in names if (folder / name).is_file()), None)
    if found is None:
        earlier = sorted(p.name for p in folder.glob("earlier*") if any(p.glob("*.pth")))
        aside = f"; the files of earlier runs there are in {', '.join(earlier)}" if earlier else ""
        raise FileNotFoundError(
            f"{path} is a folder without weights ({', '.join(names)}): give the folder of a run "
            f"that has saved a checkpoint, or a file of weights{aside}"
        )
    return str(folder / found)
