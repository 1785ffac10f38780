"""WiderFace's MATLAB files, written in their form: cells by event, in these by image."""

import numpy as np
from scipy.io import savemat


def cells(rows):
    """A column of cells."""
    column = np.empty((len(rows), 1), dtype=object)
    for k, row in enumerate(rows):
        column[k, 0] = row
    return column


def write_mat(path, events, **changes):
    """Write a file.

    Args:
        path: the file.
        events: event -> image -> (boxes, invalid, numbers of a subset from 1).
        changes: variables in place of those.
    """
    numbers = np.int32

    def by_image(make):
        return cells([cells([make(*own) for own in images.values()]) for images in events.values()])

    content = {
        "event_list": cells(list(events)),
        "file_list": cells([cells(list(images)) for images in events.values()]),
        "face_bbx_list": by_image(lambda boxes, *_: numbers(boxes).reshape(-1, 4)),
        "invalid_label_list": by_image(lambda _, invalid, __: numbers(invalid).reshape(-1, 1)),
        "gt_list": by_image(lambda _, __, subset: numbers(subset).reshape(-1, 1)),
    }
    savemat(path, content | changes)
