"""The C core under sanitizers, its choice of instruction sets, its threads."""

import os
import shutil
import subprocess
from pathlib import Path

import lowres_d2  # noqa: F401
from lowres_d2.deploy.one_bit import pack_bits
from lowres_d2.deploy.one_bit.library import SOURCE, library
from lowres_d2.deploy.one_bit.paths import CORE_PATHS, chosen_path

import pytest
import torch

needs_core = pytest.mark.skipif(library() is None, reason="no compiler")
needs_gcc = pytest.mark.skipif(not shutil.which("gcc"), reason="sanitizers of gcc")
CASES = Path(__file__).parent / "random_cases.c"


@needs_gcc
@pytest.mark.slow
@pytest.mark.parametrize(("sanitizer", "number"), [("address,undefined", 25), ("thread", 8)])
def test_random_shapes_under_sanitizers(tmp_path, sanitizer, number):
    program = tmp_path / "cases"
    flags = ["-O0", "-g", "-std=gnu11", "-ffp-contract=off", "-pthread", "-DSMALL=1"]
    flags += ["-Wall", "-Wextra", "-Werror", "-fno-sanitize-recover=all", f"-fsanitize={sanitizer}"]
    sources = [CASES, *sorted(SOURCE.glob("*.c"))]
    subprocess.run(["gcc", *flags, "-I", SOURCE, *sources, "-lm", "-o", program], check=True)
    done = subprocess.run([program, "1", str(number)], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "all equal\n"), done.stdout + done.stderr


FMA, POPCNT, AVX = 1 << 12, 1 << 23, 1 << 28
MOST = FMA | POPCNT | AVX
AVX2, AVX512 = 1 << 5, 1 << 16 | 1 << 17 | 1 << 30 | 1 << 31
VPOPCNTDQ = 1 << 14
YMM, ZMM = 0b110, 0b11100110


@needs_core
@pytest.mark.skipif(os.uname().machine != "x86_64", reason="flags of x86")
@pytest.mark.parametrize(
    ("leaf_1", "leaf_7", "leaf_7_more", "saved", "paths"),
    [
        (MOST, AVX2 | AVX512, VPOPCNTDQ, ZMM, ["scalar", "avx2", "avx512bw", "vpopcntdq"]),
        (MOST, AVX2 | AVX512, 0, ZMM, ["scalar", "avx2", "avx512bw"]),
        # The operating system does not keep the wide registers, whatever the processor has.
        (MOST, AVX2 | AVX512, VPOPCNTDQ, YMM, ["scalar", "avx2"]),
        (MOST, AVX2 | AVX512, VPOPCNTDQ, 0, ["scalar"]),
        (MOST, AVX2 | AVX512 & ~(1 << 31), VPOPCNTDQ, ZMM, ["scalar", "avx2"]),
        (MOST & ~POPCNT, AVX2, 0, YMM, ["scalar"]),
        (MOST & ~FMA, AVX2, 0, YMM, ["scalar"]),
        (0, 0, 0, 0, ["scalar"]),
    ],
)
def test_a_path_needs_the_processor_and_the_operating_system(
    leaf_1, leaf_7, leaf_7_more, saved, paths
):
    found = library().one_bit_supported_by(leaf_1, leaf_7, leaf_7_more, saved)
    assert [name for number, name in enumerate(CORE_PATHS) if found >> number & 1] == paths


@pytest.mark.skipif(chosen_path() == "torch", reason="torch counts: its threads are not forked")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_forked_process_has_threads_of_its_own():
    x = torch.randn(1, 256, 128, 128)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        expected = pack_bits(x).words
        child = os.fork()
        if child == 0:
            # Nothing of torch that has threads is called here: they are not in the child.
            os._exit(0 if bytes(pack_bits(x).words.numpy()) == bytes(expected.numpy()) else 1)
        assert os.waitpid(child, 0)[1] == 0
    finally:
        torch.set_num_threads(before)
