"""A model in a file of another runtime, written only if it finds there what it finds in torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from lowres_d2.deploy.export.comparison import Differences, compare
from lowres_d2.deploy.export.exported import load_exported
from lowres_d2.deploy.export.formats import Format, format_of
from lowres_d2.deploy.export.graph import graph_for, takes_any_size
from lowres_d2.deploy.export.sealed import Known
from lowres_d2.own_files import check_own, own_path

from torch import nn


def export_model(
    model: nn.Module,
    path: str | Path,
    inputs: Sequence[dict[str, Any]],
    *,
    name: str | None = None,
    recipe: str = "",
    classes: Sequence[str] = (),
    category_ids: Sequence[int] = (),
    channel_order: str = "",
    knows: str = "",
    progress: Callable[[str], None] = lambda text: None,
) -> Differences:
    """Write a model in another runtime's format, and check it.

    Args:
        model: composition, detector or classifier, in evaluation mode on the CPU.
        path: file to write, whose suffix is the format's.
        inputs: of images for the check, on which the model finds something; where a file takes
            images of one size alone, it is theirs.
        name: of the format; None: that of the suffix.
        recipe: text of a ``config.yaml``.
        classes: names in the order of the labels.
        category_ids: ids of these in the annotation file of the training data.
        channel_order: of the image, such as "RGB".
        knows: what a quick model was trained on.
        progress: is told what is being done.

    Returns:
        The largest differences to torch.

    Raises:
        ValueError: the model cannot be exported, the name has another suffix, the images should
            have one size and do not, nothing is found on them, or the exported model finds
            something else; nothing is written then.
        FileExistsError: the file is there and not ours to replace.
        ModuleNotFoundError: a package is missing; says how to install it.
    """
    entry = format_of(path, name)
    entry.check_packages(entry.to_write)
    check_own(entry.files(Path(path)))
    graph = graph_for(model, entry)
    channels = len(inputs[0]["image"])
    known = Known(
        format=entry.name,
        recipe=recipe,
        classes=list(classes),
        category_ids=list(category_ids),
        factor=str(graph.resampler.factor),
        channels=channels,
        channel_order=channel_order,
        knows=knows,
        outputs=graph.outputs,
        selection=None if graph.selection is None else graph.selection.known(),
        size=None if takes_any_size(graph, entry) else _only_size(inputs, entry),
    )
    with ExitStack() as files:
        # The last ones get their names first: the file that is loaded is there once all are.
        part, *_ = [files.enter_context(own_path(file)) for file in entry.files(Path(path))]
        only = f", for images of {_shown(known.size)} alone" if known.size else ""
        progress(f"tracing the model for {entry.name}{only}")
        entry.backend().write(graph, known, part)
        progress(f"checking it on {len(inputs)} images")
        found = compare(
            model,
            load_exported(part),
            inputs,
            graph.selection,
            entry.box_tolerance,
            entry.score_tolerance,
        )
        _check(found, entry, path)
    return found


def _only_size(inputs: Sequence[dict[str, Any]], entry: Format) -> list[int]:
    first, *others = sorted({tuple(x["image"].shape[-2:]) for x in inputs})
    if others:
        raise ValueError(
            f"this model's {entry.name} file takes images of one size alone, and those of the "
            f"check have {_shown(first)}, {_shown(others[0])} ... (height x width, after the "
            "recipe's resizing): give images of the size that is needed"
        )
    return list(first)


def _shown(size: Sequence[int]) -> str:
    return "x".join(map(str, size))


def _check(found: Differences, entry: Format, path: str | Path) -> None:
    if not found.found:
        raise ValueError(
            f"{path} is not written: the model finds nothing on the {found.images} images of the "
            "check, so that nothing can be compared: give others, on which it finds objects"
        )
    if found.unmatched or found.score > entry.score_tolerance:
        raise ValueError(
            f"{path} is not written, since {entry.name} and torch differ: {found.unmatched} of "
            f"their detections are not found by both ({found}; accepted are "
            f"{entry.box_tolerance:g} px and {entry.score_tolerance:g})"
        )
