from dataclasses import replace

import pytest
import torch
from proteins import frames, protein

from genmatter.domains.backbone.config import (
    BackboneDiffusionConfig,
    BackboneSamplingConfig,
    EmbedConfig,
    IpaConfig,
)
from genmatter.domains.backbone.conformers import Conformers, Trajectory
from genmatter.domains.backbone.diffusion import build
from genmatter.domains.backbone.network import IpaScore, Links, Seen
from genmatter.domains.backbone.represent import BackboneFrames
from genmatter.errors import ConfigError
from genmatter.generative.walks import Bodies
from genmatter.maths import rotation
from genmatter.maths.noise import stream

TINY = BackboneDiffusionConfig.presets["tiny"]


def conformers(n=8, sequences=("GAYPKW", "AAAAAAAAAA")):
    found = []
    for k, letters in enumerate(sequences):
        atoms = frames(n, letters, seed=k)
        found.append(Trajectory(protein(letters, f"protein {k}"), atoms.numpy(), 1))
    return Conformers.all(found)


OBJECTS = conformers()
FRAMES = BackboneFrames.fit(OBJECTS, TINY)
BATCH = FRAMES.encode(OBJECTS)
SOME = BATCH[torch.tensor([0, 5, 9])]


def loud(config=TINY, dtype=torch.float64):
    """A model whose network moves bodies and says something, as after training."""
    with stream("network"):
        model = build(config, FRAMES).to(dtype)
        for name, p in model.named_parameters():
            if "update" in name or "linear_out" in name:
                torch.nn.init.normal_(p, std=0.05)
        model.begin([BATCH])
    return model.eval()


def scene(model, n=3, dtype=torch.float64, u=0.5):
    """What a network is asked: states at levels, all of one level or not."""
    torch.manual_seed(0)
    rows = BATCH[torch.arange(0, 16, 16 // n)[:n]]
    level = model.path.level(model.path.at(torch.linspace(u - 0.3, u + 0.3, n).to(dtype)))
    shape = rows.mask.shape
    trans = 4 * torch.randn(*shape, 3).to(dtype)
    state = Bodies(rotation.random_matrix(*shape, like=trans), trans)
    told = Seen(rows.aatype, rows.seq_idx, rows.mask, rows.fixed)
    return state, level, told, torch.randn(*shape, 3).to(dtype)


def same(a, b, where, **more):
    for x, y in zip(a, b, strict=True):
        torch.testing.assert_close(x[where], y[where], **more)


CONFIGS = {
    "tiny": TINY,
    "edges": replace(TINY, ipa=replace(TINY.ipa, edge_transition=True)),
    "plain": replace(TINY, ipa=replace(TINY.ipa, reach=0, seq_tfmr_num_layers=0)),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_answers_turn_with_what_is_asked(name):
    model = loud(CONFIGS[name])
    state, level, told, sc = scene(model)
    turn = rotation.random_matrix(like=state.trans)
    found = model.net.refine(state, level, told, sc)
    there = Bodies(turn @ state.rots, state.trans @ turn.mT)
    again = model.net.refine(there, level, told, sc @ turn.mT)
    want = (turn @ found.rots, found.trans @ turn.mT, found.psi)
    same(again, want, told.mask, atol=1e-9, rtol=1e-9)
    moved = rotation.angle(state.rots.mT @ found.rots)[told.mask]
    assert moved.min() > 1e-4


def test_answers_move_with_what_is_asked_as_far_as_the_level_knows():
    model = loud()
    state, level, told, sc = scene(model)
    shift = torch.tensor([1.0, -2.0, 3.0]).double()
    found = model.net.refine(state, level, told, sc)
    again = model.net.refine(Bodies(state.rots, state.trans + shift), level, told, sc + shift)
    moved = found.trans + level.alpha[:, None, None] * shift
    same(again, (found.rots, moved, found.psi), told.mask, atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize("name", CONFIGS)
def test_masked_residues_stay_and_are_unseen(name):
    model = loud(CONFIGS[name])
    state, level, told, sc = scene(model)
    mask = told.mask.clone()
    mask[:, 2] = False
    told = told._replace(mask=mask)
    gone = ~mask[..., None]
    other = Bodies(
        torch.where(gone[..., None], torch.eye(3).double(), state.rots),
        torch.where(gone, 50.0, state.trans),
    )
    types = torch.where(mask, told.aatype, 20)
    a = model.net.refine(state, level, told, sc)
    b = model.net.refine(other, level, told._replace(aatype=types), torch.where(gone, 9.0, sc))
    same(a, b, mask, atol=1e-9, rtol=1e-9)
    assert torch.equal(a.rots[~mask], state.rots[~mask])
    assert torch.equal(a.trans[~mask], state.trans[~mask])


def test_padding_changes_nothing():
    model = loud()
    state, level, told, sc = scene(model)
    size = int(told.mask[0].sum())
    assert size < told.mask.shape[1]
    cut = lambda x: x[:1, :size]
    short = Bodies(cut(state.rots), cut(state.trans))
    alone = model.net.refine(
        short, type(level)(*(c[:1] for c in level)), Seen(*map(cut, told)), cut(sc)
    )
    whole = model.net.refine(state, level, told, sc)
    same(alone, [cut(x) for x in whole], (slice(None), slice(None)), atol=1e-9, rtol=1e-9)


def test_fixed_residues_stay_and_are_seen():
    model = loud()
    state, level, told, sc = scene(model)
    fixed = torch.zeros_like(told.mask)
    fixed[:, 1] = True
    told = told._replace(fixed=fixed)
    found = model.net.refine(state, level, told, sc)
    assert torch.equal(found.rots[:, 1], state.rots[:, 1])
    assert torch.equal(found.trans[:, 1], state.trans[:, 1])
    trans = torch.where(fixed[..., None], state.trans + 3, state.trans)
    other = model.net.refine(Bodies(state.rots, trans), level, told, sc)
    assert ((other.rots - found.rots)[:, 0].abs().amax((-2, -1)) > 1e-6).all()


def test_what_is_not_diffused_is_seen_as_it_is():
    for known in ("diffuse_trans", "diffuse_rot"):
        model = loud(replace(TINY, **{known: False}))
        state, _, told, sc = scene(model)
        level = model.path.level(torch.ones(3).double())
        found = model.net.refine(state, level, told, sc)
        kept = "trans" if known == "diffuse_trans" else "rots"
        assert torch.equal(getattr(found, kept), getattr(state, kept))
    model = loud(replace(TINY, diffuse_trans=False, self_conditioning=0.0))
    a = model.net.refine(state, level, told, sc)
    far = model.net.refine(Bodies(state.rots, 2 * state.trans), level, told, sc)
    assert (a.rots - far.rots).abs().amax((-2, -1))[told.mask].min() > 1e-4


def test_an_untrained_network_hardly_moves_and_then_its_score_is_zero():
    with stream("still"):
        model = build(TINY, FRAMES).double().eval()
    for block in model.net.blocks:
        torch.nn.init.zeros_(block.update.weight)
    state, level, told, sc = scene(model)
    found = model.net.refine(state, level, told, sc)
    assert torch.equal(found.rots, state.rots)
    assert model._score(found, state, level).abs().max() < 1e-10
    want = level.alpha[:, None, None] * state.trans
    torch.testing.assert_close(found.trans[told.mask], want[told.mask])


def test_the_objective_does_not_see_how_conformers_are_turned(monkeypatch):
    model, x = loud(), BATCH[torch.tensor([0, 3, 9])]
    x = x.replace(rots=x.rots.double(), trans=x.trans.double(), psi=x.psi.double())
    turn = rotation.random_matrix(like=x.trans)
    told = [torch.eye(3).double()]

    def randn_like(y):
        g = torch.Generator().manual_seed(7)
        return torch.randn(y.shape, generator=g, dtype=y.dtype) @ told[0].mT

    def vectors(sigma):
        g = torch.Generator().manual_seed(8)
        return sigma[..., None] * torch.randn(*sigma.shape, 3, generator=g, dtype=sigma.dtype)

    monkeypatch.setattr("genmatter.generative.frames.torch.randn_like", randn_like)
    monkeypatch.setattr("genmatter.maths.igso3.sample_vector", vectors)
    u, share = torch.tensor([0.1, 0.4, 0.8]).double(), torch.ones_like(x.trans[..., 0])
    here = model._loss(x, u, x.mask, x.fixed, share)
    told[0] = turn
    y = x.replace(rots=turn @ x.rots, trans=x.trans @ turn.mT + 10)
    there = model._loss(y, u, x.mask, x.fixed, share)
    for name in here.terms:
        torch.testing.assert_close(there.terms[name], here.terms[name], rtol=1e-6, atol=1e-6)


def test_links_know_the_mean_over_the_data():
    links, scale = Links(2), 0.2
    links.begin([BATCH[:5], BATCH[5:]], scale)
    rows = BATCH.mask[:, :-1] & BATCH.mask[:, 1:]
    step = BATCH.trans[:, 1:] - BATCH.trans[:, :-1]
    local = (BATCH.rots[:, :-1].mT @ step[..., None]).squeeze(-1) * scale
    turned = BATCH.rots[:, :-1].mT @ BATCH.rots[:, 1:]
    next_one = links.mean[links.offsets.index(1)]
    torch.testing.assert_close(next_one[:3], local[rows].mean(0), atol=1e-5, rtol=0)
    torch.testing.assert_close(next_one[3:], turned[rows].flatten(1).mean(0), atol=1e-5, rtol=0)


def test_links_do_not_cross_chains_or_ends():
    links = Links(1).double()
    n, size = 1, 4
    x = Bodies(torch.eye(3).double().expand(n, size, 3, 3), torch.randn(n, size, 3).double())
    index = torch.tensor([[1, 2, 203, 204]])
    told = Seen(index * 0, index, torch.ones(n, size).bool(), torch.zeros(n, size).bool())
    one = torch.ones(1).double()
    found = links(x, told, one, one).view(size, 2, 25)
    there = found[..., -1].bool().tolist()
    assert there == [[False, True], [True, False], [False, True], [True, False]]
    assert (found[0, 0] == 0).all()


def test_every_block_has_the_same_means_from_one_pass():
    with stream("begin"):
        model = build(TINY, FRAMES)
    model.begin(iter([BATCH[:4], BATCH[4:]]))  # which can be gone through once
    first, *rest = [m.mean for m in model.modules() if isinstance(m, Links)]
    assert first.abs().max() > 0.1
    assert all(torch.equal(first, other) for other in rest)


@pytest.mark.parametrize("preset", ["reference", "atlas", "peptide"])
def test_presets_take_a_training_step(preset):
    config = BackboneDiffusionConfig.presets[preset]
    with stream(preset):
        model = build(config, FRAMES).train()
        model.begin([BATCH])
        before = [p.detach().clone() for p in model.parameters()]
        adam = torch.optim.Adam(model.parameters(), lr=1e-3)
        model.loss(BATCH[torch.tensor([0, 9])], 0.0).total.mean().backward()
        adam.step()
    assert all(p.isfinite().all() for p in model.parameters())
    assert sum(not torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True)) > 50


def test_the_reference_preset_is_the_reference():
    config = BackboneDiffusionConfig.presets["reference"]
    net = build(config, FRAMES).net
    block = net.blocks[0]
    assert (len(net.blocks), block.ipa.no_heads, len(block.seq_tfmr)) == (4, 12, 2)
    assert (block.ipa.c_hidden, block.ipa.no_qk_points, block.ipa.no_v_points) == (16, 4, 8)
    assert block.links is None
    assert net.embedder.types is None
    assert not net.embedder.earlier
    assert config.so3.min_sigma == 0.1
    assert (config.time_power, config.min_t, config.crop_ratio) == (1.0, 0.01, 0.95)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"crop_ratio": 0.0}, "crop_ratio"),
        ({"crop_ratio": 1.5}, "crop_ratio"),
        ({"min_t": 0.0}, "min_t"),
        ({"sampling": BackboneSamplingConfig(sampler="reverse", steps=1)}, "at least 2"),
        ({"sampling": BackboneSamplingConfig(steps=0)}, "at least 1"),
    ],
)
def test_configs_that_cannot_be_are_refused(change, words):
    with pytest.raises(ConfigError, match=words):
        build(replace(TINY, **change), FRAMES)


OTHERS = {
    "so3": {"min_sigma": 0.3, "max_sigma": 2.0},
    "r3": {"min_b": 0.5, "max_b": 9.0},
    "embed": {
        "index_embed_size": 12, "num_bins": 5, "min_bin": 1.0, "max_bin": 9.0,
        "residue_types": False,
    },
    "ipa": {
        "c_hidden": 5, "c_skip": 6, "no_heads": 3, "no_qk_points": 3, "no_v_points": 3,
        "seq_tfmr_num_heads": 4, "seq_tfmr_num_layers": 2, "num_blocks": 1, "reach": 1,
        "edge_transition": True,
    },
    "sampling": {
        "sampler": "ode", "steps": 5, "churn": 0.9, "noise_scale": 0.3, "latent_steps": 4,
    },
    "": {
        "diffuse_rot": False, "diffuse_trans": False, "min_t": 0.1, "time_power": 1.0,
        "node_embed_size": 20, "edge_embed_size": 12, "self_conditioning": 0.0, "crop_ratio": 0.5,
        "motif_rate": 0.9, "rot_loss_weight": 2.0, "trans_loss_weight": 2.0,
        "psi_loss_weight": 2.0, "links_loss_weight": 2.0, "links_below": 0.9,
        "trans_target": "score",
    },
}  # fmt: skip


def outcome(config):
    """What a config makes of the same noise: the loss of training, samples, and a latent."""
    with stream("outcome"):
        model = build(config, FRAMES)
        for name, p in model.named_parameters():
            if "update" in name or "linear_out" in name:
                torch.nn.init.normal_(p, std=0.05)
        model.begin([BATCH])
        loss = model.train().loss(SOME, 0.0).total.sum().item()
        model.eval()
        samples = model.sample(BATCH[:2]).trans.sum().item()
        latent = model.to_latent(BATCH[:2]).abs().sum().item()
    return loss, samples, latent


def test_every_leaf_of_the_model_has_an_effect():
    plain = outcome(TINY)
    assert outcome(TINY) == plain
    told = {name: getattr(TINY, name) for name in ("so3", "r3", "embed", "ipa")}
    for part, values in OTHERS.items():
        whole = {"": TINY, "sampling": TINY.sampling} | told
        for name, value in values.items():
            assert getattr(whole[part], name) != value, name
            one = replace(whole[part], **{name: value})
            changed = one if not part else replace(TINY, **{part: one})
            assert outcome(changed) != plain, f"{part} {name}"


def test_the_table_of_leaves_is_whole():
    names = lambda cls: set(cls.__dataclass_fields__)
    assert set(OTHERS["embed"]) == names(EmbedConfig)
    assert set(OTHERS["ipa"]) == names(IpaConfig)
    prompts = {"protein", "new_sequence", "motif", "motif_from", "pair", "target"}
    assert set(OTHERS["sampling"]) | prompts == names(BackboneSamplingConfig)
    parts = {"data", "sampling", "optim", "so3", "r3", "embed", "ipa"}
    of_all = names(type(TINY).__mro__[1])
    assert set(OTHERS[""]) | parts | of_all == names(type(TINY)) | of_all


def test_it_is_what_build_promises():
    assert isinstance(build(TINY, FRAMES).net, IpaScore)
