"""Writes batch files of CIFAR and of down-sampled ImageNet as their authors did."""

import pickle

import numpy as np


def python2_pickle(content):
    """As Python 2 wrote CIFAR's files: text is bytes of the old string opcodes."""
    out = bytearray(b"\x80\x02")
    _write(content, out)
    return bytes(out + b".")


def _write(value, out):
    if isinstance(value, np.ndarray):
        out += b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n"
        _write((0,), out)
        _write("b", out)
        out += b"tR("
        _write(1, out)
        _write(value.shape, out)
        kind = value.dtype.str.lstrip("|<")
        out += b"cnumpy\ndtype\n("
        for part in (kind, 0, 1):
            _write(part, out)
        out += b"tR("
        for part in (3, "|", None, None, None, -1, -1, 0):
            _write(part, out)
        out += b"tb"
        out += b"\x89"  # not in Fortran order
        _write(value.tobytes(), out)
        out += b"tb"
    elif value is None:
        out += b"N"
    elif isinstance(value, int):
        out += b"J" + value.to_bytes(4, "little", signed=True)
    elif isinstance(value, str | bytes):
        text = value.encode("latin1") if isinstance(value, str) else value
        out += b"T" + len(text).to_bytes(4, "little") + text
    elif isinstance(value, list | tuple):
        out += b"("
        for part in value:
            _write(part, out)
        out += b"l" if isinstance(value, list) else b"t"
    else:
        out += b"("
        for key, part in value.items():
            _write(key, out)
            _write(part, out)
        out += b"d"


class BatchFolder:
    """A folder of batch files, to be damaged by tests before it is read."""

    def __init__(self, folder, seed=0):
        self.folder = folder
        folder.mkdir(parents=True)
        self.random = np.random.default_rng(seed)

    def pixels(self, number, side=32):
        return self.random.integers(0, 256, (number, 3 * side**2), dtype=np.uint8)

    def write(self, name, content):
        (self.folder / name).write_bytes(python2_pickle(content))

    def write_python3(self, name, content):
        (self.folder / name).write_bytes(pickle.dumps(content))
