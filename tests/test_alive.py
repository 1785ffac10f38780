"""Which processes are alive: also those of other users, and where the system does not say."""

import os
import subprocess
import sys
from types import SimpleNamespace

from lowres_d2.alive import is_alive

import pytest


@pytest.mark.skipif(os.name != "posix", reason="needs numbers of processes")
def test_a_process_is_alive_until_it_has_ended():
    assert is_alive(os.getpid())
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        pass
    assert not is_alive(ended.pid)
    assert is_alive(10**30)  # no number of a process: who knows what it means


def test_what_cannot_be_told_counts_as_alive(monkeypatch):
    def not_ours(process, signal):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "kill", not_ours)
    assert is_alive(1)


def test_no_signal_is_sent_where_it_would_end_the_process(monkeypatch):
    windows = SimpleNamespace(name="nt")  # on which signal 0 is Ctrl+C
    monkeypatch.setattr("lowres_d2.alive.os", windows)
    assert is_alive(os.getpid())
