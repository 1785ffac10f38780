"""Real processes with the variables that srun sets, forked from a server that has imported all.

Importing torch and this project takes longer than a toy run. The server computes nothing, so that
forking it is safe. A child skips the shutdown of the interpreter, which takes even longer.
"""

import importlib
import json
import os
import subprocess
import sys
import time
import traceback
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@dataclass
class Ended:
    """How a process ended: exit code (-9: killed), seconds, what it printed."""

    code: int
    seconds: float
    text: str

    @property
    def errors(self):
        return [line for line in self.text.splitlines() if line.startswith("error: ")]


class Ranks:
    """Client of the server, which is this file run as a program."""

    def __init__(self, folder):
        places = [str(Path(__file__).parents[1]), str(ROOT)]
        environment = os.environ | {
            "OMP_NUM_THREADS": "1",
            "CUDA_VISIBLE_DEVICES": "",
            "PYTHONPATH": os.pathsep.join(places),
        }
        self._folder, self._runs = folder, 0
        self._server = subprocess.Popen(
            [sys.executable, __file__],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, program, *arguments, size=2, fails="", **variables):
        """Run ``module:function`` in ``size`` processes; returns how each ended, by rank."""
        self._runs += 1
        folder = self._folder / f"run{self._runs}"
        folder.mkdir()
        fails = {"FAILS": f"{fails} {folder / 'failed'}"} if fails else {}
        # Job numbers make the port that the processes meet at.
        job = {"SLURM_JOB_ID": str(os.getpid() * 100 + self._runs), "SLURM_NODELIST": "127.0.0.1"}
        ranks = [
            {"SLURM_PROCID": str(k), "SLURM_LOCALID": str(k), "SLURM_NTASKS": str(size)}
            for k in range(size)
        ]
        request = {
            "program": program,
            "arguments": list(map(str, arguments)),
            "folder": str(folder),
            "environments": [job | rank | fails | variables for rank in ranks],
        }
        self._server.stdin.write(json.dumps(request) + "\n")
        self._server.stdin.flush()
        ends = json.loads(self._server.stdout.readline())
        texts = [(folder / f"{k}.txt").read_text() for k in range(size)]
        return [Ended(*end, text) for end, text in zip(ends, texts, strict=True)]

    def close(self):
        self._server.stdin.close()
        self._server.wait()
        self._server.stdout.close()


def serve():
    import hotcoco  # noqa: F401
    import torch.utils.tensorboard  # noqa: F401

    import toys.failing_run  # noqa: F401

    for line in sys.stdin:
        request = json.loads(line)
        started, processes = time.monotonic(), {}
        for rank, variables in enumerate(request["environments"]):
            process = os.fork()
            if process == 0:
                _become(variables, Path(request["folder"], f"{rank}.txt"))
                _exit_after(request["program"], request["arguments"])
            processes[process] = rank
        ends = [()] * len(processes)
        while processes:
            process, status = os.wait()
            seconds = time.monotonic() - started
            ends[processes.pop(process)] = os.waitstatus_to_exitcode(status), seconds
        print(json.dumps(ends), flush=True)


def _become(variables, output):
    os.environ.update(variables)
    for descriptor, flags in ((0, os.O_RDONLY), (1, os.O_WRONLY)):
        place = output if descriptor else os.devnull
        os.dup2(os.open(place, flags | (os.O_CREAT if descriptor else 0)), descriptor)
    os.dup2(1, 2)


def _exit_after(program, arguments):
    code = 1
    try:
        module, function = program.split(":")
        getattr(importlib.import_module(module), function)(arguments)
        code = 0
    except SystemExit as end:
        code = end.code
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    serve()
