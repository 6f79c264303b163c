"""Real processes of `genmatter`, started quickly, to be killed and otherwise hurt.

Imports cost seconds, so one process that has them waits for command lines, and forks for each. It
never computes anything itself, has one thread, and knows the domains that the tests know.
"""

import json
import os
import resource
import signal
import subprocess
import sys
import time
import traceback
from pathlib import Path

import torch

from genmatter.run import Run
from genmatter.training import checkpoint

HERE = Path(__file__).parent


class Workshop:
    """Where command lines are carried out, one at a time."""

    def __init__(self, folder):
        self.out = folder / "out"
        paths = [str(HERE), *(p for p in sys.path if p)]
        env = {"OMP_NUM_THREADS": "1", "MPLBACKEND": "Agg", "PYTHONPATH": os.pathsep.join(paths)}
        self.process = subprocess.Popen(
            [sys.executable, __file__, str(self.out)], env=os.environ | env,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def start(self, *argv, **harm):
        """Starts a command line, and returns its process; `suffer` says what harm there is."""
        return self._asked({"argv": [str(a) for a in argv], "harm": harm})

    def end(self):
        """Waits for it, and returns its exit code; minus the signal where one killed it."""
        return self._asked("end")

    def run(self, *argv, **harm):
        """Returns the exit code of a command line, and all that it said."""
        self.start(*argv, **harm)
        return self.end(), self.out.read_text()

    def killed(self, seconds, *argv, **harm):
        """Returns the exit code of a command line that is killed after so many seconds."""
        process = self.start(*argv, **harm)
        time.sleep(seconds)
        os.kill(process, signal.SIGKILL)  # where it has ended, nobody else has its number yet
        return self.end()

    def close(self):
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait()

    def _asked(self, what):
        self.process.stdin.write(json.dumps(what) + "\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline())


def ends(home):
    """Returns all that a training leaves behind, but for how long it took."""
    run = Run(home)
    tensors = {
        f"{path.name}/{k}": v
        for path in (run.model, run.last, run.best)
        for k, v in checkpoint.read(path)[0].items()
    }
    columns = json.loads((home / "training_history.json").read_text())
    names = sorted(str(p.relative_to(home)) for p in home.rglob("*"))
    texts = [p.read_text() for p in (run.config, run.representation)]
    rows = [row | {"seconds": 0} for row in run.read_history()]
    return tensors, [rows, columns | {"seconds": 0}, names, texts]


def same(home, other, why=""):
    (a, b), (c, d) = ends(home), ends(other)
    assert a.keys() == c.keys(), why
    for k in a:
        assert torch.equal(a[k], c[k]), f"{k} {why}"
    assert b == d, why


def serve(out):
    """Forks for every command line that is asked for."""
    import conftest  # noqa: F401 - the domains of the tests

    from genmatter import api, recipes

    for recipe in recipes.find_all():
        recipes._module(recipe)
        recipes.build_domain(recipe, recipes.find(recipe)())
    assert api.train
    child = 0
    for line in sys.stdin:
        what = json.loads(line)
        if what == "end":
            answer = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        else:
            child = answer = os.fork()
            if not child:
                work(out, **what)
        sys.stdout.write(f"{answer}\n")
        sys.stdout.flush()


def work(out, argv, harm):
    """Carries out a command line, in a process of its own."""
    file = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(file, 1)
    os.dup2(file, 2)
    code = 1
    try:
        from genmatter.api import fitting
        from genmatter.cli import main

        fitting.curves = fitting.png = lambda _: b"drawing takes long"
        suffer(**harm)
        code = main(argv)
    except SystemExit as end:
        code = int(end.code or 0)
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def suffer(save_every=60.0, memory=0, size=0, **harm):
    """Sets what will happen to this process.

    Args:
        save_every: Seconds between two checkpoints within an epoch.
        memory: Bytes that it may take beyond what it has.
        size: Largest file that it may write, in bytes.
        **harm: Of `Harm`.
    """
    from genmatter.training import fit

    fit.SAVE_EVERY = save_every
    if memory:
        status = Path("/proc/self/status").read_text()
        held = int(status.partition("VmData:")[2].split()[0]) * 1024
        resource.setrlimit(resource.RLIMIT_DATA, (held + memory,) * 2)
    if size:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size,) * 2)
    if harm:
        sync, hurt = os.fsync, Harm(**harm)
        os.fsync = lambda file: (hurt.synced(file), sync(file))
        sys.addaudithook(hurt)


class Harm:
    """Something that happens as a folder is written to for the nth time.

    Every change counts, before it is made: making, opening to write, flushing, renaming and
    removing. `kill` is SIGKILL; a number is that signal; `full` and `read-only` fail that change
    and all later ones. With `half` only flushing counts, and cuts the file before it kills.
    """

    def __init__(self, folder, at, how):
        self.folder, self.at, self.how, self.count = folder, at, how, 0

    def __call__(self, event, args):
        if self.how == "half":
            return
        changes = event in {"os.rename", "os.remove", "os.mkdir", "os.rmdir"}
        if event == "open":
            changes = args[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        if changes and str(args[0]).startswith(self.folder):
            self.happen()

    def synced(self, file):
        if Path(f"/proc/self/fd/{file}").resolve().is_relative_to(self.folder):
            self.happen(file)

    def happen(self, file=None):
        self.count += 1
        if self.count < self.at:
            return
        if self.how in {"full", "read-only"}:
            number = {"full": 28, "read-only": 30}[self.how]
            raise OSError(number, os.strerror(number))
        if self.count > self.at:
            return
        if self.how == "half" and Path(f"/proc/self/fd/{file}").is_file():
            os.ftruncate(file, os.fstat(file).st_size // 2)
        os.kill(os.getpid(), self.how if isinstance(self.how, int) else signal.SIGKILL)


if __name__ == "__main__":
    serve(sys.argv[1])
