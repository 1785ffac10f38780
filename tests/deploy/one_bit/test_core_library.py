"""Compiled once, by whatever compiler there is, into whatever folder can be written."""

import functools
import os
import shutil
import stat
import subprocess
import sys
import threading

import lowres_d2  # noqa: F401
from lowres_d2.deploy.one_bit import library as module
from lowres_d2.deploy.one_bit import paths
from lowres_d2.deploy.one_bit.library import (
    NotCompiledError,
    cached_path,
    compiler,
    kept_path,
    library,
    load,
)

import pytest

pytestmark = pytest.mark.skipif(library() is None, reason="no compiler")
SMALL = """
import lowres_d2
import torch
from lowres_d2.deploy.one_bit import PackedWeights, chosen_path, pack_bits, packed_conv
one, nine = -torch.ones(1, 3, 1, 1), torch.ones(1, 3, 3, 3)
y, _ = packed_conv(pack_bits(torch.ones(1, 3, 2, 2), padding=1), PackedWeights.pack(nine, 1))
again, _ = packed_conv(pack_bits(torch.ones(1, 3, 1, 1)), PackedWeights.pack(one))
print(chosen_path(), y.flatten().tolist(), again.item())
"""
RESULT = "[12.0, 12.0, 12.0, 12.0] -3.0\n"


def run(**environment):
    kept = {k: x for k, x in os.environ.items() if k not in ("CC", "LOWRES_D2_ONE_BIT")}
    return subprocess.Popen(
        [sys.executable, "-c", SMALL],
        env={**kept, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture
def quick_compiler(tmp_path):
    """A compiler that takes a moment, counts its calls, and copies what was compiled before."""
    script, calls = tmp_path / "quick-cc", tmp_path / "calls"
    copy = f'for out; do :; done\ncp {kept_path(compiler())} "$out"'
    script.write_text(f"#!/bin/sh\necho >> {calls}\nsleep 0.3\n{copy}\n")
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    return str(script), lambda: len(calls.read_text())


@pytest.fixture
def not_loaded_yet(monkeypatch):
    monkeypatch.setattr(module, "_loaded", functools.cache(module._loaded.__wrapped__))


def test_without_a_compiler_one_line_says_so_and_results_are_the_same(tmp_path):
    out, errors = run(PATH=str(tmp_path)).communicate()
    assert out == "torch " + RESULT
    assert errors.count("\n") == 1
    assert "no C compiler on PATH (cc, gcc, clang)" in errors


def test_a_compiler_that_fails_is_named_with_its_reason(
    tmp_path, monkeypatch, caplog, not_loaded_yet
):
    failing = tmp_path / "failing-cc"
    reasons = "echo x.c:1: warning: a >&2\necho 'x.c:1: error: no such flag' >&2"
    failing.write_text(f"#!/bin/sh\n{reasons}\nexit 1\n")
    failing.chmod(0o755)
    monkeypatch.setenv("CC", str(failing))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert library() is None and library() is None
    assert [record.getMessage().split(": ", 1)[1] for record in caplog.records] == [
        f"{failing} failed: x.c:1: error: no such flag"
    ]
    assert not (tmp_path / "lowres_d2").exists()


def test_a_compiler_that_is_not_there(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("CC", "/nowhere/cc -m64")
    with pytest.raises(NotCompiledError, match="/nowhere/cc: No such file"):
        load(compiler())


@pytest.mark.slow
def test_processes_that_start_at_once_share_a_folder(tmp_path, quick_compiler, monkeypatch):
    script, calls = quick_compiler
    both = [run(CC=script, XDG_CACHE_HOME=str(tmp_path / "cache")) for _ in range(2)]
    for process in both:
        out, errors = process.communicate()
        assert (out.split(" ", 1)[1], errors) == (RESULT, "")
        assert not out.startswith("torch")
    assert len([*(tmp_path / "cache" / "lowres_d2").iterdir()]) == 1
    before = calls()
    monkeypatch.setenv("CC", script)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    load(compiler())
    assert calls() == before


def test_threads_that_start_at_once_compile_once(
    tmp_path, quick_compiler, monkeypatch, not_loaded_yet
):
    script, calls = quick_compiler
    monkeypatch.setenv("CC", script)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    threads = [threading.Thread(target=library) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert calls() == 1 and library() is not None


def test_a_cache_that_cannot_be_written_is_done_without(tmp_path, quick_compiler, monkeypatch):
    script, calls = quick_compiler
    blocked = tmp_path / "a file"
    blocked.write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(blocked))
    assert load([script]).one_bit_supported() == library().one_bit_supported()
    assert calls() == 1


def test_a_library_of_another_system_is_not_used(tmp_path, quick_compiler, monkeypatch):
    script, _ = quick_compiler
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    content = b"MZ of another system"
    foreign = cached_path([script], content)
    foreign.parent.mkdir()
    foreign.write_bytes(content)
    assert kept_path([script]) == foreign
    assert load([script]).one_bit_supported() == library().one_bit_supported()


def test_the_name_changes_with_the_command_and_the_content():
    assert cached_path(["cc", "-O3"], b"") != cached_path(["cc", "-O2"], b"")
    assert cached_path(["cc", "-O3"], b"") != cached_path(["cc", "-O3"], b"\0")
    assert cached_path(["cc", "-O3"], b"") == cached_path(["cc", "-O3"], b"")


@pytest.mark.parametrize("part", [0.0, 0.5, 0.9])
def test_a_library_that_was_cut_off_is_made_again(tmp_path, quick_compiler, monkeypatch, part):
    script, calls = quick_compiler
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    load([script])
    kept = kept_path([script])
    whole = kept.read_bytes()
    # A new file: this process has the old one mapped, and would die with it.
    kept.unlink()
    kept.write_bytes(whole[: int(part * len(whole))])
    assert kept_path([script]) is None
    assert load([script]).one_bit_supported() == library().one_bit_supported()
    assert kept_path([script]) == kept and kept.read_bytes() == whole and calls() == 2
    load([script])
    assert calls() == 2


def test_a_folder_in_the_place_of_the_library(tmp_path, quick_compiler, monkeypatch):
    script, _ = quick_compiler
    content = kept_path(compiler()).read_bytes()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    cached_path([script], content).mkdir(parents=True)
    assert load([script]).one_bit_supported() == library().one_bit_supported()


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("", "made no library, without an error"),
        ('echo > "$out"', "cannot be used: .*(file too short|invalid ELF header)"),
        (
            'gcc -shared -fPIC -x c /dev/null -o "$out"',
            "cannot be used: .* lacks one_bit_supported",
        ),
    ],
    ids=["nothing", "no library", "another library"],
)
def test_a_compiler_that_makes_something_else(tmp_path, monkeypatch, script, reason):
    if script.startswith("gcc") and not shutil.which("gcc"):
        pytest.skip("no gcc")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    other = tmp_path / "other-cc"
    other.write_text(f"#!/bin/sh\nfor out; do :; done\n{script}\n")
    other.chmod(0o755)
    for _ in range(2):  # what was kept changes nothing
        with pytest.raises(NotCompiledError, match=reason) as raised:
            load([str(other)])
        assert "\n" not in str(raised.value)


def test_no_command(monkeypatch, caplog, not_loaded_yet):
    monkeypatch.setenv("CC", 'gcc "')
    assert library() is None
    [record] = caplog.records
    assert 'CC=gcc " is no command (No closing quotation)' in record.getMessage()


def test_a_path_is_forced_by_a_variable(monkeypatch):
    for name in paths.supported_paths():
        monkeypatch.setenv("LOWRES_D2_ONE_BIT", name)
        assert paths.chosen_path() == name
    monkeypatch.delenv("LOWRES_D2_ONE_BIT")
    assert paths.chosen_path() == paths.supported_paths()[-1]


def test_a_path_that_does_not_exist_is_refused(monkeypatch):
    monkeypatch.setenv("LOWRES_D2_ONE_BIT", "avx3")
    with pytest.raises(ValueError, match="=avx3: expected auto, vpopcntdq, avx512bw, avx2, neon"):
        paths.chosen_path()


def test_a_path_that_this_machine_lacks_is_refused(monkeypatch):
    lacking = "neon" if "avx2" in paths.supported_paths() else "avx2"
    if lacking in paths.supported_paths():
        pytest.skip("this machine has all")
    monkeypatch.setenv("LOWRES_D2_ONE_BIT", lacking)
    with pytest.raises(ValueError, match=f"={lacking}: this machine lacks it"):
        paths.chosen_path()


def test_torch_compiles_nothing(monkeypatch):
    monkeypatch.setattr(paths, "library", lambda: pytest.fail("compiled"))
    assert paths._path.__wrapped__("torch") == "torch"
