"""A lock that names its holder, and is taken over from a dead one."""

import json
import os
import socket
import subprocess
import sys
import threading
import time

from lowres_d2.engine.processes import folder_lock as module
from lowres_d2.engine.processes.folder_lock import FolderInUse, folder_lock

import pytest

HOLD = """
import sys
from lowres_d2.engine.processes.folder_lock import folder_lock
with folder_lock(sys.argv[1]):
    print("held", flush=True)
    input()
"""

pytestmark = pytest.mark.skipif(os.name != "posix", reason="needs numbers of processes")


@pytest.fixture
def lock(tmp_path):
    return tmp_path / ".lock"


def of_another_machine(lock, age=0.0):
    """A lock file as a process on another machine leaves it, untouched for a time."""
    holder = {"host": "node7", "process": os.getpid(), "since": "today", "machine": "node7 1"}
    lock.write_text(json.dumps(holder))
    then = time.time() - age
    os.utime(lock, (then, then))


def test_it_is_held_in_the_context_only(lock):
    with folder_lock(lock):
        assert json.loads(lock.read_text())["process"] == os.getpid()
    assert not list(lock.parent.iterdir())
    with folder_lock(lock), pytest.raises(FolderInUse), folder_lock(lock):
        pass


@pytest.mark.slow
def test_a_living_process_is_named_and_a_killed_one_replaced(lock):
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, lock], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout.readline() == "held\n"
        words = f"in use by process {other.pid} on {socket.gethostname()} since 2.*--output FOLDER"
        with pytest.raises(FolderInUse, match=words), folder_lock(lock):
            pass
        other.kill()
    assert lock.exists()
    with folder_lock(lock):
        pass


def test_a_number_that_another_process_has_now_is_no_holder(lock):
    with folder_lock(lock):
        content = json.loads(lock.read_text())
    lock.write_text(json.dumps(content | {"born": "1", "token": "of another"}))
    with folder_lock(lock):
        assert json.loads(lock.read_text())["born"] != "1"


def test_a_process_that_has_ended_is_no_holder_and_one_that_cannot_be_asked_is(lock, monkeypatch):
    with folder_lock(lock):
        content = json.loads(lock.read_text()) | {"token": "of another"}
    lock.write_text(json.dumps(content))
    with monkeypatch.context() as patch:
        patch.setattr(module, "_born", lambda process: None)  # of another user, say
        with pytest.raises(FolderInUse), folder_lock(lock):
            pass
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        os.waitid(os.P_PID, ended.pid, os.WEXITED | os.WNOWAIT)  # not collected: its number stays
        lock.write_text(json.dumps(content | {"process": ended.pid}))
        with folder_lock(lock):
            assert json.loads(lock.read_text())["process"] == os.getpid()


def test_a_machine_that_touches_its_lock_lives(lock, monkeypatch, caplog):
    monkeypatch.setattr(module, "BEAT", 0.1)
    of_another_machine(lock, age=1.0)
    threading.Timer(0.3, os.utime, (lock,)).start()
    holder = f"process {os.getpid()} on node7 since today"
    with pytest.raises(FolderInUse, match=holder), folder_lock(lock):
        pass
    assert [record.getMessage() for record in caplog.records] == [
        f"{lock}: waiting up to 60 s for a sign of life of {holder}"
    ]


def test_machines_of_the_same_name_are_told_apart(lock, monkeypatch, tmp_path):
    monkeypatch.setattr(module, "BEAT", 0.1)
    with folder_lock(lock):
        content = json.loads(lock.read_text())
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        pass
    dead_here = content | {"process": ended.pid, "token": "of another"}
    lock.write_text(json.dumps(dead_here))
    (tmp_path / "boot_id").write_text("another machine\n")
    with monkeypatch.context() as patch:
        patch.setattr(module, "BOOT", tmp_path / "boot_id")
        threading.Timer(0.3, os.utime, (lock,)).start()
        with pytest.raises(FolderInUse), folder_lock(lock):
            pass
    with folder_lock(lock):  # on its own machine, that number says that it has ended
        assert json.loads(lock.read_text())["process"] == os.getpid()


def test_a_machine_that_has_gone_is_replaced(lock, monkeypatch):
    of_another_machine(lock, age=module.PATIENCE + 5)
    with folder_lock(lock):  # at once
        assert json.loads(lock.read_text())["host"] == socket.gethostname()
    monkeypatch.setattr(module, "BEAT", 0.05)
    monkeypatch.setattr(module, "PATIENCE", 0.3)
    lock.write_text("")  # killed before it had written its name
    started = time.monotonic()
    with folder_lock(lock):
        assert time.monotonic() - started < 10


def test_a_holder_keeps_its_lock_fresh(lock, monkeypatch):
    monkeypatch.setattr(module, "BEAT", 0.02)
    with folder_lock(lock):
        os.utime(lock, (1, 1))
        deadline = time.monotonic() + 10
        while lock.stat().st_mtime == 1 and time.monotonic() < deadline:
            time.sleep(0.02)
        assert lock.stat().st_mtime > 1


def test_of_several_that_replace_a_dead_holder_one_gets_it(lock):
    of_another_machine(lock, age=1000)
    inside, most, refused = [], [], []

    def enter():
        try:
            with folder_lock(lock):
                inside.append(1)
                most.append(len(inside))
                time.sleep(0.2)
                inside.pop()
        except FolderInUse:
            refused.append(1)

    threads = [threading.Thread(target=enter) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(most) == 1 and len(most) + len(refused) == 8


def test_a_lock_that_another_process_has_taken_over_is_left_to_it(lock):
    with folder_lock(lock):
        of_another_machine(lock)
    assert lock.exists()


def test_a_lock_that_does_not_fit_onto_the_disk_leaves_nothing(lock, monkeypatch):
    def no_space(content, file):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(json, "dump", no_space)
    with pytest.raises(OSError, match="No space left"), folder_lock(lock):
        pass
    assert not list(lock.parent.iterdir())


def test_what_a_killed_process_had_beside_the_lock_is_removed(lock):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    mine = module._this_process()
    dead = lock.with_name(".lock.1")
    dead.write_text(json.dumps(mine | {"process": ended.pid}))
    # Of a living process, or of a machine that nobody here can ask.
    living, elsewhere = lock.with_name(".lock.2"), lock.with_name(".lock.3")
    living.write_text(json.dumps(mine))
    of_another_machine(elsewhere)
    with folder_lock(lock):
        assert not dead.exists() and living.exists() and elsewhere.exists()


def test_a_process_that_was_killed_while_it_removed_a_lock_stops_nobody(lock):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    dead = json.dumps(module._this_process() | {"process": ended.pid})
    lock.write_text(dead)
    lock.with_name(f"{lock.name}.removal").write_text(dead)
    with folder_lock(lock):
        assert [file.name for file in lock.parent.iterdir()] == [lock.name]
