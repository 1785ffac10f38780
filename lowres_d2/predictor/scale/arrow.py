"""pyarrow, which is an extra: manifests, shards and parquet inputs are its tables."""

try:
    import pyarrow as pa
    import pyarrow.parquet as pq
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        f"{error}: pyarrow is needed here: pip install 'lowres-d2[predict]'", name=error.name
    ) from None

__all__ = ["pa", "pq"]
