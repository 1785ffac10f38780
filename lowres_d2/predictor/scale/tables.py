"""Images in parquet files: their bytes, or the paths of their files.

A column of images holds bytes, paths, or both as Hugging Face's data sets do: a struct of ``bytes``
and ``path``. Paths are relative to the folder of their table.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from lowres_d2.near_names import near
from lowres_d2.predictor.scale.arrow import pa, pq
from lowres_d2.predictor.scale.places import Place, names_of, place_of

IDS = ("image_id", "id", "file_name", "path", "__key__", "key")
_ROWS = 32  # read at once: of bytes that may be megabytes each


def image_column(files: Sequence[str], given: str | None) -> str:
    """Name of the column that has the images; the only one that can, if none is given.

    Raises:
        ValueError: there is no such column, none, or several.
    """
    schema = _schema(files[0])
    if given is not None:
        _check_column(files[0], schema, given, "--image-column")
        return given
    images = [field.name for field in schema if _holds_bytes(field.type)]
    found = images or [field.name for field in schema if _is_text(field.type)]
    if len(found) != 1:
        what = f"{', '.join(found)} can hold images" if found else "no column of bytes or paths"
        columns = ", ".join(f"{field.name} ({field.type})" for field in schema)
        raise ValueError(f"{files[0]}: {what}: name one with --image-column; it has {columns}")
    return found[0]


def id_column(files: Sequence[str], given: str | None) -> str | None:
    """Name of the column of ids, whole numbers or text; None: there is none.

    Raises:
        ValueError: the one given is not there.
    """
    schema = _schema(files[0])
    if given is not None:
        _check_column(files[0], schema, given, "--id-column")
    names = [given] if given is not None else [name for name in IDS if name in schema.names]
    usable = [
        name for name in names if _is_text(kind := schema.field(name).type) or _is_whole(kind)
    ]
    if given is not None and not usable:
        raise ValueError(f"{files[0]}: --id-column {given}: expected whole numbers or text")
    return usable[0] if usable else None


def places_in_tables(files: Sequence[str], column: str, ids: str | None) -> Iterator[Place]:
    """The rows, named by their ids if these are text, else ``table.parquet#row``.

    Raises:
        ValueError: a file is no parquet, lacks a column, or has a row without a number among those
            with one.
    """
    names = names_of(files)
    for file in files:
        schema = _schema(file)
        for needed in filter(None, (column, ids)):
            _check_column(file, schema, needed, "--input")
        path = os.path.abspath(file)
        numbered = ids is not None and _is_whole(schema.field(ids).type)
        for row, value in enumerate(_ids(file, ids)):
            text = value if isinstance(value, str) else f"{names[file]}#{row}"
            if numbered and value is None:
                raise ValueError(
                    f"{text}: has no {ids}: fill the column, or name another with --id-column"
                )
            yield place_of(text, path, value if isinstance(value, int) else None, row)


def read_tables(places: Sequence[Place], column: str) -> Iterator[bytes | str | None]:
    """What a column has for each row: bytes, a path, or nothing.

    Args:
        places: of the rows, which follow each other in each file.
        column: of images.
    """
    for path, group in itertools.groupby(places, key=lambda place: place.path):
        rows = [place.start for place in group]
        for value in _values(os.fsdecode(path), column, rows[0], len(rows)):
            yield _content(value, Path(os.fsdecode(path)).parent)


def _content(value: Any, folder: Path) -> bytes | str | None:
    if isinstance(value, dict):
        value = value["path"] if value.get("bytes") is None else value["bytes"]
    if isinstance(value, str) and "://" not in value:
        return str(folder / value)
    return value


def _values(file: str, column: str, first: int, number: int) -> Iterator[Any]:
    """Values of rows; row groups are read by pieces, since one may be larger than the memory."""
    with pq.ParquetFile(file, pre_buffer=False, buffer_size=1 << 20) as table:
        sizes = [table.metadata.row_group(k).num_rows for k in range(table.num_row_groups)]
        ends = list(itertools.accumulate(sizes))
        groups = [
            k for k, end in enumerate(ends) if end > first and end - sizes[k] < first + number
        ]
        skipped = first - (ends[groups[0]] - sizes[groups[0]])
        for batch in table.iter_batches(_ROWS, row_groups=groups, columns=[column]):
            part = batch.column(0).slice(min(skipped, len(batch)), number)
            skipped, number = max(skipped - len(batch), 0), number - len(part)
            yield from part.to_pylist()


def _ids(file: str, column: str | None) -> Iterator[Any]:
    with pq.ParquetFile(file, pre_buffer=False) as table:
        if column is None:
            yield from itertools.repeat(None, table.metadata.num_rows)
            return
        for batch in table.iter_batches(columns=[column]):
            yield from batch.column(0).to_pylist()


def _schema(file: str) -> pa.Schema:
    try:
        return pq.read_schema(file)
    except pa.ArrowInvalid as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"{file}: cannot be read as parquet ({reason})") from None


def _check_column(file: str, schema: pa.Schema, name: str, flag: str) -> None:
    if name not in schema.names:
        columns = ", ".join(schema.names)
        raise ValueError(
            f"{flag}: {file} has no column {name!r}{near(name, schema.names)}; it has {columns}"
        )


def _holds_bytes(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        names = [kind.field(k).name for k in range(kind.num_fields)]
        return "bytes" in names
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)


def _is_text(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):  # pandas' categories
        kind = kind.value_type
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)


def _is_whole(kind: pa.DataType) -> bool:
    return pa.types.is_integer(kind)
