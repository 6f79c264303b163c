import math

import pytest
import torch
from domains.backbone.chains import chains, loose, moved, normal

from genmatter.domains.backbone.baselines import (
    BASELINES,
    baselines,
    gaussian,
    independent_torsions,
)
from genmatter.domains.backbone.observables import (
    alphas,
    left_handed,
    link_bonds,
    omega,
    oxygen_psi,
    phi,
    psi,
)
from genmatter.maths.superpose import mean_cloud, rmsd, superpose


def flat(x):
    """Returns all coordinates of conformers that are superposed on their mean by N, CA and C."""
    core = x[:, :, :3].flatten(1, 2).double()
    return superpose(core, mean_cloud(core)).flatten(1)


def test_every_baseline_samples_conformers_like_the_training_frames():
    train = loose(200).float()
    train[:, 2, 4] = 0  # a glycine
    samples = baselines(train, 50)
    assert list(samples) == ["independent_torsions", "gaussian"]
    for x in samples.values():
        assert x.shape == (50, 6, 5, 3)
        assert x.dtype == train.dtype
        assert x.isfinite().all()
        assert (x[:, 2, 4] == 0).all()
        assert (x[:, [0, 1, 3, 4, 5], 4] != 0).any(-1).all()
        torch.testing.assert_close(x[:, :, :3].mean((1, 2)), torch.zeros(50, 3), atol=1e-4, rtol=0)


@pytest.mark.parametrize("model", BASELINES.values(), ids=BASELINES)
def test_samples_are_a_function_of_the_seed_and_touch_no_other_stream(model):
    train = loose(60)
    state = torch.get_rng_state()
    first = model(train, 20, 1)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(model(train, 20, 1), first)
    assert not torch.equal(model(train, 20, 2), first)


@pytest.mark.parametrize("model", BASELINES.values(), ids=BASELINES)
def test_one_training_frame_gives_that_frame_and_not_its_mirror_image(model):
    train = loose(1)
    for x in (train, -train):
        copies = model(x, 3).flatten(1, 2)
        torch.testing.assert_close(
            rmsd(copies, x.flatten(1, 2)), torch.zeros(3).double(), atol=1e-6, rtol=0
        )


@pytest.mark.parametrize("model", BASELINES.values(), ids=BASELINES)
def test_where_the_training_frames_lie_does_not_matter(model):
    train = loose(60)
    here, there = (model(x, 10).flatten(1, 2) for x in (train, moved(train)))
    torch.testing.assert_close(rmsd(here, there), torch.zeros(10).double(), atol=1e-5, rtol=0)


def nearest(samples, train, *angles):
    """Returns how far each sample's angles are, together, from those of the nearest frame."""
    a, b = (torch.stack([of(x) for of in angles], -1) for x in (samples, train))
    return (a[:, None] - b).abs().amax(-1).amin(1)


def test_residues_keep_what_they_have_and_forget_what_they_share():
    links = 6
    hidden = 0.5 * normal(400, 1).expand(400, links)  # all residues of a frame know it
    told = -1.0 + hidden, 1.0 + hidden, math.pi + 0.1 * hidden
    train = chains(*told)
    train[..., :] *= 1 + 0.01 * normal(400, 1, 1, 1, key=1)  # bonds differ from frame to frame
    x = independent_torsions(train, 500)
    inner = [lambda y: phi(y)[:, :-1], lambda y: psi(y)[:, 1:]]
    assert nearest(x, train, *inner).max() < 1e-6
    assert nearest(x, train, psi, lambda y: omega(y) % (2 * math.pi), link_bonds).max() < 1e-6
    for one, other in ((psi, phi), (phi, phi)):
        shift = int(one is other)
        pairs = torch.stack([one(x)[:, 0], other(x)[:, shift]])
        assert pairs.corrcoef()[0, 1].abs() < 0.15  # psi with the next residue's phi
        kept = torch.stack([one(train)[:, 0], other(train)[:, shift]])
        assert kept.corrcoef()[0, 1] > 0.99
    assert left_handed(x).all()
    gap = oxygen_psi(x)[:, :-1] - psi(x)
    torch.testing.assert_close(gap.cos(), torch.ones_like(gap))


def test_each_residue_keeps_its_own_distribution():
    train = loose(300)
    train = torch.cat([train[:, :3], chains(phi(train) + 1, psi(train))[:, 3:]], 1)
    x = independent_torsions(chains(phi(train), psi(train)), 2000)
    for of in (phi, psi):
        got, expected = of(x), of(train)
        torch.testing.assert_close(got.cos().mean(0), expected.cos().mean(0), atol=0.1, rtol=0)
        torch.testing.assert_close(got.sin().mean(0), expected.sin().mean(0), atol=0.1, rtol=0)


def test_the_gaussian_has_the_moments_of_the_superposed_frames():
    train = chains(-1 + 0.15 * normal(500, 5), 2 + 0.15 * normal(500, 5, key=1))
    y, x = flat(train), flat(gaussian(train, 20_000))
    torch.testing.assert_close(x.mean(0), y.mean(0), atol=0.02, rtol=0)
    assert x.var(0).sum() == pytest.approx(y.var(0).sum().item(), rel=0.05)
    leading, expected = (torch.linalg.eigvalsh(z.T.cov())[-5:] for z in (x, y))
    torch.testing.assert_close(leading, expected, rtol=0.08, atol=0)
    bonds = link_bonds(gaussian(train, 200))
    assert bonds.std() > 10 * link_bonds(train).std()  # it knows no bonds
    assert alphas(train).shape == (500, 6, 3)
