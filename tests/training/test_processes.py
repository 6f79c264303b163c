"""Two processes step as one does, count as one does, and end together."""

import sys
from dataclasses import dataclass

import pytest
import torch
from processes import together
from torch import Tensor, nn

from genmatter.config import Optim
from genmatter.domains.polymer.config import PolymerVAEConfig
from genmatter.domains.polymer.domain import Polymer
from genmatter.domains.polymer.vae import build
from genmatter.errors import ConfigError, DataError
from genmatter.loading.batch import Batch
from genmatter.maths.gaussian import DiagonalGaussian
from genmatter.maths.noise import generator, reseed
from genmatter.run import Run
from genmatter.spine import Generative, Loss
from genmatter.training import fit as fitting
from genmatter.training import processes
from genmatter.training.devices import fabric_for, plan


@dataclass(frozen=True)
class Named(Batch):
    """Rows that know their number, by which their noise is keyed."""

    x: Tensor
    row: Tensor


class Noisy(Generative):
    """Takes noise off its data, with two layers and a loss that is no mean of squares."""

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 3))

    def loss(self, batch, epoch):
        noise = [torch.randn(3, generator=generator("row", r)) for r in batch.row.tolist()]
        noise = torch.stack(noise) if noise else torch.zeros(0, 3)
        gap = self.net(batch.x + noise) - batch.x
        return Loss({"log": gap.square().sum(-1).log1p()}, {})

    def sample(self, given):
        return given


def noisy():
    x = torch.randn(23, 3, generator=generator("x"))
    reseed("init")
    return Noisy(), Named(x, torch.arange(23))


def polymer():
    config = PolymerVAEConfig.presets["tiny"]
    domain = Polymer(config)
    train = domain.load().train[:23]
    representation = domain.representation.fit(train, config)
    reseed("init")
    return build(config, representation), representation.encode(train)


CASES = {"noise by row": noisy, "polymer/vae": polymer}


@pytest.mark.parametrize("case", CASES)
def test_each_gradient_is_that_of_one_process(case, tmp_path, monkeypatch):
    """23 rows in batches of 11: unequal shares, and a last batch that leaves one with nothing."""
    monkeypatch.setattr(DiagonalGaussian, "rsample", lambda self: self.mean)
    take = torch.optim.AdamW.step

    def work(rank):
        found = []

        def step(adam, *rest):
            found.append([p.grad.clone() for g in adam.param_groups for p in g["params"]])
            return take(adam, *rest)

        monkeypatch.setattr(torch.optim.AdamW, "step", step)
        model, x = CASES[case]()
        fabric = fabric_for("cpu", "32", 1)
        run = Run(tmp_path / f"run of {fabric.world_size}")
        processes.once(run.claim)
        optim = Optim(epochs=2, batch_size=11, lr=1e-4)
        fitting.fit(model, x, x, optim, 0, run, fabric)
        torch.save((found, run.read_history()), tmp_path / f"{fabric.world_size}-{rank}")

    work(0)
    assert [p.code for p in together(work, tmp_path / "said")] == [0, 0]
    one, a, b = (torch.load(tmp_path / name) for name in ("1-0", "2-0", "2-1"))
    assert len(one[0]) == len(a[0]) == len(b[0]) == 6
    for step in zip(one[0], a[0], b[0], strict=True):
        for want, first, other in zip(*step, strict=True):
            assert want.abs().max() > 0
            torch.testing.assert_close(first, want, rtol=1e-4, atol=1e-5 * want.abs().max())
            assert torch.equal(first, other)
    for want, row in zip(one[1], a[1], strict=True):
        for name in want.keys() - {"seconds"}:
            assert row[name] == pytest.approx(want[name], rel=1e-5), name


def say(what):
    sys.stdout.write(str(what))


def ended(tmp_path, work, world=2):
    def joined(rank):
        fabric_for("cpu", "32", 1)
        work(rank)

    found = together(joined, tmp_path, world)
    assert [p.code for p in found] == [0] * world, found
    return [p.out for p in found]


def test_what_is_shared_out_comes_back_in_order(tmp_path):
    def work(rank):
        say(processes.shared_out(lambda k: (k, rank), range(7)))

    want = [(k, k % 3) for k in range(7)]
    assert ended(tmp_path, work, 3) == [str(want)] * 3
    assert processes.shared_out(lambda k: -k, [1, 2]) == [-1, -2]


def test_an_error_of_one_is_everyones(tmp_path):
    def work(rank):
        with pytest.raises(DataError, match=f"from {max(rank, 1)}"), processes.together():
            _raise(DataError(f"from {rank}") if rank else None)
        with pytest.raises(DataError, match="first"):
            processes.once(lambda: _raise(DataError("first")))
        with pytest.raises(DataError, match="of 2"):
            processes.shared_out(lambda k: _raise(DataError("of 2")) if k == 2 else k, range(4))
        say("all")

    assert ended(tmp_path, work, 3) == ["all"] * 3


def _raise(error):
    if error:
        raise error


def test_only_the_first_does_what_is_done_once(tmp_path):
    assert ended(tmp_path, lambda rank: processes.once(lambda: say("once"))) == ["once", ""]


def test_a_device_that_is_not_there_is_refused_by_name(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(ConfigError, match=r"no device 'cuda' here; there is .*cpu"):
        fabric_for("cuda", "32", 1)


def test_processes_do_not_share_a_device(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setenv("WORLD_SIZE", "2")
    for device in ("cuda", "auto"):
        with pytest.raises(ConfigError, match=r"2 processes .* 1 cuda"):
            plan(device)
    assert plan("cpu")["devices"] == 2
    monkeypatch.setenv("WORLD_SIZE", "6")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    there = plan("auto")
    assert (there["accelerator"], there["devices"], there["num_nodes"]) == ("cuda", 2, 3)
