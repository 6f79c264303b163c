"""The loop: the step it takes is the one that the formula says, on one process and on two."""

import math
import os
import signal
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from genmatter.config import Optim
from genmatter.errors import CheckpointError, TrainingError, TrainingStoppedError
from genmatter.loading.batch import Batch
from genmatter.loading.examples import order
from genmatter.run import Run
from genmatter.spine import Generative, Loss
from genmatter.training import checkpoint
from genmatter.training.fit import fit, learning_rate


@dataclass(frozen=True)
class Rows(Batch):
    x: Tensor


ASKED = []
"""The epoch that each loss was asked for, and its first random number."""


class Mean(Generative):
    """Learns the mean of its data, whose best estimate has a closed form."""

    def __init__(self, size=2):
        super().__init__()
        self.at = nn.Parameter(torch.zeros(size))

    def loss(self, batch, epoch):
        ASKED.append((epoch, torch.rand(()).item()))
        beta = min(1.0, epoch)
        return Loss(
            {
                "square": (batch.x - self.at).square().sum(-1),
                "kl": self.at.square().sum().expand(len(batch)),
            },
            {"kl": 0.0 * beta},
        )

    def sample(self, given):
        return given


def rows(n=40, shift=3.0):
    return Rows(shift + torch.randn(n, 2, generator=torch.Generator().manual_seed(0)))


@pytest.fixture
def run(tmp_path):
    run = Run(tmp_path / "run")
    run.claim()
    return run


@pytest.fixture
def fabric():
    return Fabric(accelerator="cpu", devices=1)


def test_it_finds_the_closed_form(run, fabric):
    x, model = rows(), Mean()
    fit(
        model,
        x,
        x,
        Optim(epochs=200, batch_size=40, lr=0.1, schedule="cosine", ema=0),
        0,
        run,
        fabric,
    )
    torch.testing.assert_close(model.at.detach(), x.x.mean(0), atol=5e-3, rtol=0)


def test_validation_is_the_objective_at_the_end_with_the_same_noise(run, fabric):
    x, model = rows(), Mean()
    ASKED.clear()
    fit(model, x, x, Optim(epochs=3, batch_size=16, lr=0.1, ema=0), 0, run, fabric)
    trained = [epoch for epoch, _ in ASKED if epoch < math.inf]
    assert trained == [i / 3 for i in range(9)]
    noise = [n for epoch, n in ASKED if epoch == math.inf]
    assert noise[:3] == noise[3:6] == noise[6:]
    assert len(set(noise)) == 3
    assert len({n for epoch, n in ASKED if epoch < math.inf}) == 9
    history = run.read_history()
    assert [r["epoch"] for r in history] == [1, 2, 3]
    assert all(r["step"] == 3 * r["epoch"] for r in history)
    last = checkpoint.read(run.last)[0]["model/at"]
    want = (x.x - last).square().sum(-1).mean().item()
    assert math.isclose(history[-1]["valid/square"], want, rel_tol=1e-6)


def test_the_best_weights_are_kept_or_the_last(fabric, tmp_path):
    x, far = rows(), rows(shift=1.0)
    ends = {}
    for keep in ("best", "last"):
        run, model = Run(tmp_path / keep), Mean()
        run.claim()
        state = fit(
            model,
            x,
            far,
            Optim(epochs=60, batch_size=40, lr=0.1, ema=0, keep=keep),
            0,
            run,
            fabric,
        )
        totals = [r["valid/total"] for r in run.read_history()]
        assert state.best == min(totals) < totals[-1]
        ends[keep] = (far.x - model.at.detach()).square().sum(-1).mean().item()
        assert math.isclose(
            ends[keep], min(totals) if keep == "best" else totals[-1], rel_tol=1e-5
        )
    assert ends["best"] < ends["last"]


def test_patience_ends_a_training_that_gets_no_better(run, fabric):
    fit(
        Mean(),
        rows(),
        rows(shift=1.0),
        Optim(epochs=500, batch_size=40, lr=0.1, ema=0, patience=5),
        0,
        run,
        fabric,
    )
    totals = [r["valid/total"] for r in run.read_history()]
    assert len(totals) == totals.index(min(totals)) + 1 + 5 < 500


def test_a_loss_that_is_no_number_ends_the_training(run, fabric):
    bad = Rows(torch.full((8, 2), torch.nan))
    with pytest.raises(TrainingError, match="step 0"):
        fit(Mean(), bad, bad, Optim(epochs=1), 0, run, fabric)


def test_ctrl_c_leaves_a_checkpoint_that_resumes_to_the_same_bits(fabric, tmp_path):
    optim, ends = Optim(epochs=4, batch_size=8, lr=0.1), []
    for name in ("through", "cut"):
        run, model = Run(tmp_path / name), Mean()
        run.claim()

        def press(state, last):
            if state.step == 6:
                os.kill(os.getpid(), signal.SIGINT)

        if name == "cut":
            with pytest.raises(TrainingStoppedError, match="--resume"):
                fit(model, rows(), rows(), optim, 0, run, fabric, progress=press)
            assert checkpoint.read(run.last)[1]["step"] == 7  # where all processes have heard
            model = Mean()
            run.append_history({"step": 10})  # written after the checkpoint, and then killed
            fit(model, rows(), rows(), optim, 0, run, fabric, resume=True)
        else:
            fit(model, rows(), rows(), optim, 0, run, fabric)
        ends.append((model.at.detach(), checkpoint.read(run.last)[0], run.read_history()))
    assert torch.equal(ends[0][0], ends[1][0])
    assert all(torch.equal(ends[0][1][k], ends[1][1][k]) for k in ends[0][1])
    for a, b in zip(ends[0][2], ends[1][2], strict=True):
        assert a | {"seconds": 0} == b | {"seconds": 0}


def test_a_signal_in_the_last_step_of_an_epoch_closes_it(run, fabric):
    def press(state, last):
        if state.step == 9:  # it is heard in the next
            os.kill(os.getpid(), signal.SIGTERM)

    optim = Optim(epochs=4, batch_size=8, lr=0.1)
    with pytest.raises(TrainingStoppedError) as stopped:
        fit(Mean(), rows(), rows(), optim, 0, run, fabric, progress=press)
    assert stopped.value.signal == signal.SIGTERM
    fit(Mean(), rows(), rows(), optim, 0, run, fabric, resume=True)
    assert [row["epoch"] for row in run.read_history()] == [1, 2, 3, 4]


def test_the_best_weights_outlast_their_file(fabric, tmp_path):
    optim, ends = Optim(epochs=30, batch_size=40, lr=0.1, ema=0), []

    def press(state, last):
        if state.step == 25:
            os.kill(os.getpid(), signal.SIGTERM)

    for name in ("through", "cut"):
        run, model = Run(tmp_path / name), Mean()
        if name == "cut":
            with pytest.raises(TrainingStoppedError):
                fit(Mean(), rows(), rows(shift=1.0), optim, 0, run, fabric, progress=press)
            run.best.unlink()
        fit(model, rows(), rows(shift=1.0), optim, 0, run, fabric, resume=name == "cut")
        ends.append((model.at.tolist(), checkpoint.read(run.best)[1]["step"]))
    assert ends[0] == ends[1]
    assert ends[0][1] < 25


def test_a_second_ctrl_c_does_not_wait(run, fabric):
    def press(state, last):
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        fit(Mean(), rows(), rows(), Optim(epochs=4), 0, run, fabric, progress=press)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_checkpoint_of_another_network_is_refused(run, fabric):
    fit(Mean(), rows(), rows(), Optim(epochs=1), 0, run, fabric)
    with pytest.raises(CheckpointError, match="another shape"):
        fit(Mean(3), rows(), rows(), Optim(epochs=2), 0, run, fabric, resume=True)


def test_long_epochs_are_saved_on_the_way(run, fabric, monkeypatch):
    monkeypatch.setattr("genmatter.training.fit.SAVE_EVERY", 0.0)
    seen = []

    def look(state, last):
        if run.last.is_file():
            seen.append(checkpoint.read(run.last)[1]["step"])

    fit(Mean(), rows(), rows(), Optim(epochs=1, batch_size=4), 0, run, fabric, progress=look)
    assert len(set(seen)) > 2


def test_the_learning_rate_is_a_function_of_the_step():
    optim = Optim(lr=1.0, warmup_steps=9, schedule="cosine")
    rates = [learning_rate(optim, s, 100) for s in range(101)]
    assert math.isclose(rates[0], 0.1)
    assert math.isclose(rates[50], 0.5)
    assert abs(rates[100]) < 1e-12
    assert learning_rate(Optim(lr=2.0), 77, 100) == 2.0


# gradients pass the clipping norm on their way down, so that their scale matters to Adam too
HOW = Optim(epochs=6, batch_size=10, lr=0.3, grad_clip=6.0)


def work(fabric, folder, resume=False):
    model, run = Mean(), Run(Path(folder))
    if fabric.is_global_zero and not resume:
        run.claim()
    fabric.barrier()
    fit(model, rows(21), rows(21), HOW, 0, run, fabric, resume=resume)
    torch.save(
        (model.at.detach(), run.read_history()[-1]["valid/total"]),
        Path(folder) / f"w{fabric.global_rank}",
    )


def test_two_processes_take_the_steps_of_one(tmp_path):
    work(Fabric(accelerator="cpu", devices=1), tmp_path / "one")
    Fabric(accelerator="cpu", devices=2, strategy="ddp_fork").launch(work, tmp_path / "two")
    one, a, b = (torch.load(tmp_path / p) for p in ("one/w0", "two/w0", "two/w1"))
    torch.testing.assert_close(one[0], a[0], atol=1e-6, rtol=1e-5)
    assert torch.equal(a[0], b[0])
    assert math.isclose(one[1], a[1], rel_tol=1e-5)


def stopped(fabric, folder):
    run = Run(Path(folder))

    def press(state, last):
        if (state.step, fabric.global_rank) == (5, 1):
            os.kill(os.getpid(), signal.SIGTERM)

    try:
        fit(Mean(), rows(21), rows(21), HOW, 0, run, fabric, progress=press)
    except TrainingStoppedError as error:
        said = f"{error.signal} {checkpoint.read(run.last)[1]['step']} {error}"
        (run.path / f"said{fabric.global_rank}").write_text(said)


def test_a_signal_to_one_process_stops_all_at_the_same_step_and_all_go_on(tmp_path):
    Run(tmp_path / "cut").claim()
    Fabric(accelerator="cpu", devices=2, strategy="ddp_fork").launch(stopped, tmp_path / "cut")
    a, b = ((tmp_path / "cut" / f"said{rank}").read_text() for rank in (0, 1))
    assert a.startswith("15 6 stopped after step 6;")
    assert b.endswith(a.partition(" stopped")[2])
    for name, resume in (("cut", True), ("through", False)):
        two = Fabric(accelerator="cpu", devices=2, strategy="ddp_fork")
        two.launch(work, tmp_path / name, resume)
    for rank in (0, 1):
        cut, through = (torch.load(tmp_path / n / f"w{rank}") for n in ("cut", "through"))
        assert torch.equal(cut[0], through[0])
        assert cut[1] == through[1]


def test_an_order_is_a_function_of_its_key_and_covers_every_row():
    sizes = torch.arange(100) % 7
    found = order(sizes, 8, 0, 3)
    assert torch.cat(found).sort().values.tolist() == list(range(100))
    assert all(torch.equal(a, b) for a, b in zip(found, order(sizes, 8, 0, 3), strict=True))
    assert any(not torch.equal(a, b) for a, b in zip(found, order(sizes, 8, 0, 4), strict=True))
    assert sum(int(sizes[r].max() - sizes[r].min()) for r in found) < 2 * len(found)
