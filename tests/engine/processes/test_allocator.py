import os
import platform
import subprocess
import sys

import pytest

# In a child process, since the setting is of the process, which tests share.
CHILD = """
import resource
from lowres_d2.engine.processes.allocator import keep_freed_memory
import torch

done = keep_freed_memory()
torch.ones(1 << 20).sum()  # 4 MiB
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(50):
    torch.ones(1 << 20).sum()
print(done, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(**variables):
    environment = {k: v for k, v in os.environ.items() if not k.startswith("MALLOC_")}
    output = subprocess.run(
        [sys.executable, "-c", CHILD],
        env={**environment, **variables},
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split()
    return output[0] == "True", int(output[1])


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="a setting of glibc")
def test_memory_is_faulted_in_once_and_not_for_every_tensor():
    done, number = faults()
    # Of 50 tensors of 1024 pages each; a few while the heap grows.
    assert done and number < 10000
    assert faults(MALLOC_ARENA_MAX="8")[0] is False
