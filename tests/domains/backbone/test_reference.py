"""Every name, key, default, shape and flag of the reference, each used as it is there."""

import builtins
import importlib.util
import inspect
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from proteins import SEQUENCE, saved
from torch.utils.data import DataLoader

from genmatter.cli import main
from genmatter.config import parse
from genmatter.domains import backbone
from genmatter.domains.backbone import reference
from genmatter.domains.backbone.config import BackboneDiffusionConfig
from genmatter.errors import ConfigError
from genmatter.maths import rigid, rotation
from genmatter.maths.rigid import Rigid, compose

SIGNATURES = {
    "MDGenDataset": {"args": ..., "diffuser": ..., "mode": "train"},
    "SE3Diffuser": {"se3_conf": None},
    "SO3Diffuser": {"so3_conf": None},
    "R3Diffuser": {"r3_conf": None},
    "ScoreNetwork": {"model_conf": ..., "diffuser": ...},
    "Embedder": {"node_embed_size": ..., "edge_embed_size": ..., "index_embed_size": 32,
                 "num_bins": 22, "min_bin": 1e-5, "max_bin": 20.0},
    "InvariantPointAttention": {"c_s": ..., "c_z": ..., "c_hidden": 16, "no_heads": 12,
                                "no_qk_points": 4, "no_v_points": 8},
    "BackboneUpdate": {"c_s": ...},
    "TorsionAngles": {"c_s": ...},
    "SE3Module": {"model_conf": None, "se3_conf": None, "lr": 1e-4, "rot_loss_weight": 1.0,
                  "trans_loss_weight": 1.0, "psi_loss_weight": 1.0},
}  # fmt: skip
DEFAULTS = {
    "node_embed_size": 256,
    "edge_embed_size": 128,
    "embed": {"index_embed_size": 32, "num_bins": 22, "min_bin": 1e-5, "max_bin": 20.0,
              "residue_types": False, "embed_self_conditioning": True},
    "ipa": {"c_hidden": 16, "c_skip": 64, "no_heads": 12, "no_qk_points": 4, "no_v_points": 8,
            "seq_tfmr_num_heads": 4, "seq_tfmr_num_layers": 2, "num_blocks": 4, "reach": 0,
            "edge_transition": False},
}  # fmt: skip
SMALL = {
    "node_embed_size": 16,
    "edge_embed_size": 8,
    "embed": {"index_embed_size": 8, "num_bins": 8},
    "ipa": {"c_s": 16, "c_z": 8, "c_hidden": 4, "c_skip": 4, "no_heads": 2, "no_qk_points": 2,
            "no_v_points": 2, "seq_tfmr_num_heads": 2, "seq_tfmr_num_layers": 1, "num_blocks": 2},
}  # fmt: skip
TYPED = SMALL | {"embed": SMALL["embed"] | {"residue_types": True}}
READ = {
    "rigids_t", "res_mask", "fixed_mask", "seq_idx", "t", "sc_ca_t", "torsion_angles_sin_cos"
}  # fmt: skip
L = len(SEQUENCE)
BATCH = {
    "rigids_0": (L, 7), "rigids_t": (L, 7), "rot_score": (L, 3), "trans_score": (L, 3),
    "rot_score_scaling": (), "trans_score_scaling": (), "t": (), "res_mask": (L,),
    "fixed_mask": (L,), "torsion_angles_sin_cos": (L, 7, 2), "seq_idx": (L,), "sc_ca_t": (L, 3),
    "atom14_pos": (L, 14, 3), "atom37_pos": (L, 37, 3), "aatype": (L,), "chain_idx": (L,),
    "residue_index": (L,), "residx_atom14_to_atom37": (L, 14), "atom37_mask": (L, 37),
    "centroid": (3,), "coord_scale": (), "frame_indices": (),
}  # fmt: skip
WHOLE = {"aatype", "seq_idx", "chain_idx", "residue_index", "residx_atom14_to_atom37",
         "frame_indices"}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two replicas in 16 bits, whose names end in a suffix, and both tables."""
    home = saved(tmp_path_factory.mktemp("md"), replicas=(1, 2), n=40)
    for path in home.glob("*.npy"):
        path.rename(path.with_name(path.stem + "_latent.npy"))
    (home / "frame_splits.csv").write_text(
        "name,train_start,train_end,total_frames,train_early_end,val_end\n"
        "tiny_R1,,24,40,2,32\ntiny_R2,4,20,40,2,30\n"
    )
    return home


def told(folder, **more):
    return {
        "data_dir": str(folder), "atlas_csv": str(folder / "atlas.csv"),
        "train_split": str(folder / "frame_splits.csv"), "suffix": "_latent",
    } | more  # fmt: skip


def dataset(folder, mode="train", diffuser=None, **more):
    return backbone.MDGenDataset(
        args=told(folder, **more), diffuser=diffuser or backbone.SE3Diffuser(), mode=mode
    )


def loaded(folder, mode="train", size=4, **more):
    torch.manual_seed(0)
    return next(iter(DataLoader(dataset(folder, mode, **more), batch_size=size)))


def module(conf=SMALL, **more):
    """A module whose network is no longer near the one that it starts from, which says little."""
    torch.manual_seed(1)
    it = backbone.SE3Module(model_conf=conf, se3_conf={}, **more)
    with torch.no_grad():
        for p in it.parameters():
            p.add_(0.1 * torch.randn_like(p))
    return it


def double(batch):
    return {k: v.double() if torch.is_tensor(v) and v.is_floating_point() else v
            for k, v in batch.items()}  # fmt: skip


@pytest.mark.parametrize("name", reference.__all__)
def test_names_and_defaults_are_the_references(name):
    found = inspect.signature(getattr(backbone, name)).parameters
    assert name in dir(backbone)
    for key, default in SIGNATURES.get(name, {}).items():
        got = found[key].default
        assert got is inspect.Parameter.empty if default is ... else got == default
    assert backbone.BackboneUpdate(8)(torch.zeros(1, 2, 8)).shape == (1, 2, 6)


def test_a_batch_has_every_key(folder):
    batch = loaded(folder)
    assert batch["name"] == ["tiny_R1"] * 4
    assert batch.keys() == BATCH.keys() | {"name", "inclusion"}
    for key, shape in BATCH.items():
        assert batch[key].shape == (4, *shape), key
        assert batch[key].dtype == (torch.int64 if key in WHOLE else torch.float32), key
    assert batch["seq_idx"][0].tolist() == list(range(1, L + 1))
    assert batch["frame_indices"].tolist() == [0, 1, 2, 3]
    for key in ("sc_ca_t", "fixed_mask"):
        assert not batch[key].any()


def test_positions_are_centred_angstrom_and_agree(folder):
    whole = dataset(folder, "val")
    item = whole[3]
    ca = item["atom14_pos"][:, 1]
    torch.testing.assert_close(ca.mean(0), torch.zeros(3), atol=1e-5, rtol=0)
    assert (ca.diff(dim=0).norm(dim=-1) - 3.8).abs().max() < 0.3
    torch.testing.assert_close(item["rigids_0"][:, 4:], ca)
    torch.testing.assert_close(item["atom37_pos"][:, 1], ca)
    frames = backbone.atom14_to_frames(item["atom14_pos"])
    torch.testing.assert_close(frames.to_tensor_7(), item["rigids_0"])
    place = item["residx_atom14_to_atom37"][..., None].expand(-1, -1, 3)
    again = item["atom37_pos"].gather(1, place)
    there = (item["atom14_pos"] != 0).any(-1)
    torch.testing.assert_close(again[there], item["atom14_pos"][there])
    assert item["atom37_mask"].sum() == there.sum()
    made = backbone.compute_backbone(frames, item["torsion_angles_sin_cos"][:, 2], item["aatype"])
    assert (made.atom14[:, :4] - item["atom14_pos"][:, :4]).norm(dim=-1).max() < 0.1
    assert item["centroid"].norm() < 1e-2  # the files are centred but for their 16 bits


def test_a_centroid_is_that_of_the_file(folder, tmp_path):
    x = np.load(folder / "tiny_R1_latent.npy").astype(np.float32)
    there = (x != 0).any(-1, keepdims=True)
    np.save(tmp_path / "tiny_R1.npy", np.where(there, x + np.array([5, -3, 60]), 0).astype("f4"))
    (tmp_path / "atlas.csv").write_text((folder / "atlas.csv").read_text())
    split = tmp_path / "s.csv"
    split.write_text((folder / "frame_splits.csv").read_text())
    args = SimpleNamespace(data_dir=tmp_path, train_split=split, frame_interval=None, epochs=3)
    moved = backbone.MDGenDataset(args=args, diffuser=backbone.SE3Diffuser(), mode="val")[0]
    torch.testing.assert_close(moved["centroid"], torch.tensor([5.0, -3, 60]), atol=1e-2, rtol=0)
    still = dataset(folder, "val")[0]
    torch.testing.assert_close(moved["rigids_0"], still["rigids_0"], atol=1e-3, rtol=0)


def test_splits_are_those_of_the_table(folder):
    where = {
        m: [(x["name"][-1], int(x["frame_indices"])) for x in dataset(folder, m)]
        for m in ("train", "val", "test")
    }
    of = lambda r, *ends: [(r, k) for k in range(*ends)]
    assert where["train"] == of("1", 24) + of("2", 4, 20)
    assert where["val"] == of("1", 24, 32) + of("2", 20, 30)
    assert where["test"] == of("1", 32, 40) + of("2", 30, 40)
    thin = dataset(folder, frame_interval=4)
    assert [int(x["frame_indices"]) for x in thin] == [0, 4, 8, 12, 16, 20, 4, 8, 12, 16]


def test_the_unit_of_length_is_the_training_splits(folder):
    diffuser = backbone.SE3Diffuser()
    assert diffuser.r3.coordinate_scaling == 0.1
    train = dataset(folder, diffuser=diffuser)
    x = torch.stack([item["atom14_pos"][:, 1] for item in train])
    assert train.coord_scale == pytest.approx(1 / x.square().mean().sqrt().item(), rel=1e-4)
    assert train.coord_scale == diffuser.r3.coordinate_scaling
    other = dataset(folder, "val")
    assert other.coord_scale == train.coord_scale
    other.coord_scale = 0.25
    assert other.diffuser.r3.coordinate_scaling == 0.25
    assert other[0]["coord_scale"] == 0.25
    assert train[0]["coord_scale"] == pytest.approx(train.coord_scale)


def test_noise_is_the_diffusers_and_crops_have_none(folder):
    data = dataset(folder, crop_ratio=0.5)
    batch = loaded(folder, size=40, crop_ratio=0.5)
    mask = batch["res_mask"]
    assert (mask.sum(1) == int(0.5 * L)).all()
    hidden = mask == 0
    assert torch.equal(batch["rigids_t"][hidden], batch["rigids_0"][hidden])
    for key in ("rot_score", "trans_score"):
        assert not batch[key][hidden].any()
        assert batch[key][~hidden].all()
    clean, noisy = (rigid.from_tensor_7(batch[k]) for k in ("rigids_0", "rigids_t"))
    d, t = data.diffuser, batch["t"]
    rot = d.calc_rot_score(noisy.rots, clean.rots, t) * mask[..., None]
    scale = batch["rot_score_scaling"][:, None, None]
    torch.testing.assert_close(rot / scale, batch["rot_score"] / scale, atol=1e-2, rtol=0)
    move = d.calc_trans_score(noisy.trans, clean.trans, t) * mask[..., None]
    torch.testing.assert_close(move, batch["trans_score"], atol=1e-2, rtol=1e-3)
    torch.testing.assert_close(batch["rot_score_scaling"], d.score_scaling(t)[0])
    torch.testing.assert_close(batch["trans_score_scaling"], d.score_scaling(t)[1])
    assert t.min() > 0.01
    assert t.max() < 1
    assert t.std() > 0.2


def test_residues_are_shown_as_often_as_is_said(folder):
    """The mean over crops of what is divided by the chance is one, of every residue."""
    torch.manual_seed(0)
    data = dataset(folder, crop_ratio=0.5)
    items = [data[7] for _ in range(200)]
    shares = torch.stack([x["res_mask"] / x["inclusion"] for x in items])
    assert items[0]["inclusion"].sum() == pytest.approx(int(0.5 * L), rel=1e-4)
    error = shares.std(0) / 200**0.5
    assert ((shares.mean(0) - 1).abs() < 4 * error + 1e-6).all()
    crops = {tuple(x["res_mask"].tolist()) for x in items}
    assert len(crops) > 1


def test_validation_has_an_even_grid_of_levels_and_fixed_noise(folder):
    data = dataset(folder, "val", min_t=0.05)
    torch.manual_seed(3)
    state, first = torch.get_rng_state(), [data[k] for k in range(len(data))]
    assert torch.equal(state, torch.get_rng_state())
    torch.manual_seed(4)
    again = [data[k] for k in reversed(range(len(data)))][::-1]
    for a, b in zip(first, again, strict=True):
        assert torch.equal(a["rigids_t"], b["rigids_t"])
        assert a["res_mask"].all()
    t = torch.stack([x["t"] for x in first])
    torch.testing.assert_close(t[:18].sort().values, torch.linspace(0.05, 1, 20)[:18])
    assert not torch.equal(first[0]["rot_score"], first[1]["rot_score"])
    torch.manual_seed(1)
    assert not torch.equal(dataset(folder)[0]["rigids_t"], dataset(folder)[0]["rigids_t"])


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"mode": "valid"}, "no mode 'valid'; did you mean 'val'"),
        ({"data_dir": None}, "data_dir"),
        ({"crop_ratio": 0}, "crop_ratio should be above 0 and at most 1, got 0"),
        ({"min_t": "soon"}, "min_t should be .* got 'soon'"),
        ({"frame_interval": "x"}, "frame_interval"),
    ],
)
def test_mistakes_in_arguments_are_said(folder, more, words):
    with pytest.raises(ConfigError, match=words):
        dataset(folder, more.pop("mode", "train"), **more)


def test_keys_and_defaults_of_the_network():
    network = backbone.ScoreNetwork({}, backbone.SE3Diffuser())
    assert network.conf == DEFAULTS
    assert len(network.net.blocks) == 4
    assert len(network.net.blocks[0].seq_tfmr) == 2
    small = backbone.ScoreNetwork(SMALL, backbone.SE3Diffuser())
    spaces = SimpleNamespace(**{k: SimpleNamespace(**v) if isinstance(v, dict) else v
                                for k, v in SMALL.items()})  # fmt: skip
    assert backbone.ScoreNetwork(spaces, backbone.SE3Diffuser()).conf == small.conf
    assert small.conf["ipa"]["no_heads"] == 2
    assert small.conf["embed"]["max_bin"] == 20
    plain = backbone.ScoreNetwork(
        {"embed": {"embed_self_conditioning": False}}, backbone.SE3Diffuser()
    )
    assert not plain.net.embedder.earlier
    assert backbone.SE3Diffuser({"r3": {"coordinate_scaling": 0.2}}).r3.coordinate_scaling == 0.2


@pytest.mark.parametrize(
    ("conf", "words"),
    [
        ({"node_size": 8}, "model_conf has no key 'node_size'; did you mean 'node_embed_size'"),
        ({"ipa": {"num_block": 2}}, "ipa has no key 'num_block'; did you mean 'num_blocks'"),
        ({"ipa": {"c_s": 64}}, "c_s should be node_embed_size, 256, got 64"),
        ({"embed": {"num_bins": "many"}}, "num_bins"),
    ],
)
def test_mistakes_in_keys_are_said(conf, words):
    with pytest.raises(ConfigError, match=words):
        backbone.ScoreNetwork(conf, backbone.SE3Diffuser())


@pytest.mark.parametrize("conf", [SMALL, TYPED])
def test_the_network_reads_its_keys_and_no_others(folder, conf):
    needed = READ | ({"aatype"} if conf is TYPED else set())
    batch = {k: v for k, v in loaded(folder).items() if k in needed}
    network = module(conf).model
    out = network(batch)
    shapes = {"rot_score": (L, 3), "trans_score": (L, 3), "psi": (L, 2), "rigids": (L, 7),
              "atom37": (L, 37, 3), "atom14": (L, 14, 3)}  # fmt: skip
    assert out.keys() == shapes.keys()
    for key, shape in shapes.items():
        assert out[key].shape == (4, *shape)
        assert out[key].dtype == torch.float32
    torch.testing.assert_close(out["psi"].norm(dim=-1), torch.ones(4, L))
    for key in needed:
        with pytest.raises(KeyError, match=key):
            network({k: v for k, v in batch.items() if k != key})


def test_scores_are_those_of_the_bodies_that_it_returns(folder):
    batch, it = double(loaded(folder, "val")), module().double()
    start = rigid.from_tensor_7(batch["rigids_t"])
    centred = start.trans - start.trans.mean(1, keepdim=True)
    batch["rigids_t"] = Rigid(start.rots, centred).to_tensor_7()
    out, d = it(batch), it.diffuser
    end = rigid.from_tensor_7(out["rigids"])
    rot = d.calc_rot_score(start.rots, end.rots, batch["t"])
    torch.testing.assert_close(out["rot_score"], rot, rtol=1e-6, atol=1e-6)
    trans = d.calc_trans_score(centred, end.trans, batch["t"])
    torch.testing.assert_close(out["trans_score"], trans)
    made = backbone.compute_backbone(end, out["psi"])
    torch.testing.assert_close(out["atom14"], made.atom14)
    torch.testing.assert_close(out["atom37"], made.atom37)


def test_what_is_masked_has_no_score_and_is_not_seen(folder):
    batch, network = loaded(folder, crop_ratio=0.7), module().model
    out, shown = network(batch), batch["res_mask"].bool()
    other = dict(batch)
    for key in ("rigids_t", "sc_ca_t", "torsion_angles_sin_cos"):
        noise = torch.randn_like(batch[key]) * 9
        other[key] = torch.where(shown.view(4, L, *[1] * (noise.dim() - 2)), batch[key], noise)
    again = network(other)
    for key in out:
        torch.testing.assert_close(out[key][shown], again[key][shown], atol=1e-5, rtol=1e-5)
    for key in ("rot_score", "trans_score"):
        assert not again[key][~shown].any()
        assert out[key][shown].all()
    assert torch.equal(again["rigids"][~shown], other["rigids_t"][~shown])


def test_what_is_fixed_stays_with_its_psi(folder):
    batch, network = loaded(folder, "val"), module().model
    batch["fixed_mask"][:, 2:4] = 1
    out = network(batch)
    assert torch.equal(out["rigids"][:, 2:4], batch["rigids_t"][:, 2:4])
    assert torch.equal(out["psi"][:, 2:4], batch["torsion_angles_sin_cos"][:, 2:4, 2])
    assert not torch.isclose(out["psi"][:, 4:], batch["torsion_angles_sin_cos"][:, 4:, 2]).any()
    assert not out["rot_score"][:, 2:4].any()
    assert not out["trans_score"][:, 2:4].any()
    assert out["rot_score"][:, 4:].all()


@pytest.mark.parametrize(("key", "score"), [("diffuse_rot", "rot"), ("diffuse_trans", "trans")])
def test_what_does_not_diffuse_has_no_score(folder, key, score):
    diffuser = backbone.SE3Diffuser({key: False})
    batch = next(iter(DataLoader(dataset(folder, "val", diffuser), batch_size=3)))
    torch.manual_seed(0)
    it = backbone.SE3Module(SMALL, {key: False})
    assert not it(batch)[f"{score}_score"].any()
    assert it.loss(batch)["loss"].isfinite()
    part = slice(4) if score == "rot" else slice(4, 7)
    drawn, known = it.sample(batch, num_steps=2)["rigids"], batch["rigids_0"]
    torch.testing.assert_close(drawn[..., part], known[..., part], atol=1e-5, rtol=0)


@pytest.mark.parametrize("conf", [SMALL, TYPED])
def test_answers_turn_and_move_with_the_state(folder, conf):
    batch, it = double(loaded(folder, crop_ratio=0.7)), module(conf).double()
    turn = rotation.random_matrix(like=torch.zeros((), dtype=torch.float64))
    motion = Rigid(turn, torch.tensor([30.0, -20.0, 10.0]).double())
    batch["sc_ca_t"] = batch["rigids_0"][..., 4:]
    before, loss = it(batch), it.loss(batch)
    state = rigid.from_tensor_7(batch["rigids_t"])
    moved = batch | {
        "rigids_t": compose(motion, state).to_tensor_7(),
        "trans_score": batch["trans_score"] @ turn.mT,
    }
    after = it(moved)
    torch.testing.assert_close(after["rot_score"], before["rot_score"])
    torch.testing.assert_close(after["trans_score"], before["trans_score"] @ turn.mT)
    torch.testing.assert_close(after["psi"], before["psi"])
    end = compose(motion, rigid.from_tensor_7(before["rigids"]))
    got = rigid.from_tensor_7(after["rigids"])
    torch.testing.assert_close(got.rots, end.rots)
    torch.testing.assert_close(got.trans, end.trans)
    there = (before["atom37"] != 0).any(-1)
    torch.testing.assert_close(after["atom37"][there], motion.apply(before["atom37"])[there])
    for name, value in it.loss(moved).items():
        torch.testing.assert_close(value, loss[name])


def test_types_of_residues_are_seen_where_asked_for(folder):
    batch = loaded(folder, "val")
    other = batch | {"aatype": batch["aatype"].flip(1)}
    for conf, same in ((SMALL, True), (TYPED, False)):
        network = module(conf).model
        a, b = network(batch)["rot_score"], network(other)["rot_score"]
        assert torch.equal(a, b) is same


def test_the_loss_is_the_documented_one(folder):
    batch = loaded(folder, crop_ratio=0.7)
    it = module(rot_loss_weight=2.0, training={"trans_loss_weight": "3.0"}, psi_loss_weight=0.5)
    found, out, total = it.loss(batch), it(batch), 0.0
    weights = {"rot": 2.0, "trans": 3.0, "psi": 0.5}
    for name, weight in weights.items():
        want = 0.0
        for b in range(4):
            for i in range(L):
                if not batch["res_mask"][b, i]:
                    continue
                if name == "psi":
                    gap = out["psi"][b, i] - batch["torsion_angles_sin_cos"][b, i, 2]
                else:
                    scale = batch[f"{name}_score_scaling"][b]
                    pred, true = out[f"{name}_score"][b, i], batch[f"{name}_score"][b, i]
                    gap = pred / scale - true / scale
                want += (gap**2).sum()
        want = want / batch["res_mask"].sum()
        torch.testing.assert_close(found[f"{name}_loss"], want)
        total += weight * want
    torch.testing.assert_close(found["loss"], total)
    even = it.loss(batch, torch.full_like(batch["res_mask"], 0.7))
    torch.testing.assert_close(even["loss"], found["loss"])
    rim = it.loss(batch, batch["inclusion"])
    each = batch["res_mask"] / batch["inclusion"]
    gap = (out["psi"] - batch["torsion_angles_sin_cos"][..., 2, :]).square().sum(-1)
    torch.testing.assert_close(rim["psi_loss"], (gap * each).sum() / each.sum())


def test_a_module_takes_the_unit_of_length_from_batches_and_keeps_it(folder):
    batch, it = loaded(folder, "val"), module()
    assert it.diffuser.r3.coordinate_scaling == 0.1
    it.loss(batch)
    scale = it.diffuser.r3.coordinate_scaling
    assert scale == pytest.approx(dataset(folder).coord_scale)
    assert it.model.net.scale == scale
    other = module()
    other.load_state_dict(it.state_dict())
    assert other.diffuser.r3.coordinate_scaling == scale


def test_half_of_the_steps_look_at_the_networks_own_answer(folder, monkeypatch):
    batch, it, seen = loaded(folder), module(), []
    monkeypatch.setattr(it, "log_dict", lambda *_, **__: None)
    ask = it.model.forward
    monkeypatch.setattr(it.model, "forward", lambda b: seen.append(b["sc_ca_t"]) or ask(b))
    torch.manual_seed(0)
    count = 100
    for _ in range(count):
        it.training_step(batch, 0)
    shown = [bool(x.any()) for x in seen]
    assert sum(shown) == len(shown) - count
    assert abs(sum(shown) / count - 0.5) < 0.15
    last = max(k for k, yes in enumerate(shown) if yes)
    torch.testing.assert_close(seen[last], ask(batch)["rigids"][..., 4:])
    seen.clear()
    it.validation_step(batch, 0)
    assert [bool(x.any()) for x in seen] == [False, True]


def test_training_weighs_residues_by_how_often_they_are_shown(folder, monkeypatch):
    batch, it = loaded(folder, crop_ratio=0.5), module()
    batch["inclusion"] = torch.rand(4, L) + 0.1
    monkeypatch.setattr(it, "log_dict", lambda *_, **__: None)
    monkeypatch.setattr(reference, "_CONDITIONED", 0.0)
    got = it.training_step(batch, 0)
    torch.testing.assert_close(got, it.loss(batch, batch["inclusion"])["loss"])
    assert not torch.isclose(got, it.loss(batch)["loss"])


def test_samples_are_whole_proteins_around_what_is_fixed(folder):
    batch, it = loaded(folder, "val"), module()
    torch.manual_seed(0)
    out = it.sample(batch, num_steps=5)
    assert out.keys() >= {"rigids", "atom37", "psi"}
    assert out["atom14"].isfinite().all()
    assert (out["rigids"] - it.sample(batch, num_steps=5)["rigids"]).abs().max() > 0.1
    batch["fixed_mask"][:, 1:3] = 1
    held = it.sample(batch, num_steps=5, noise_scale=0.5)
    assert torch.equal(held["rigids"][:, 1:3], batch["rigids_0"][:, 1:3])
    assert torch.equal(held["psi"][:, 1:3], batch["torsion_angles_sin_cos"][:, 1:3, 2])
    assert not torch.isclose(held["rigids"][:, 3:], batch["rigids_0"][:, 3:]).all(-1).any()
    for wrong in ({"num_steps": 0}, {"min_t": 1.5}):
        with pytest.raises(ConfigError, match="a step and a level between 0 and 1"):
            it.sample(batch, **wrong)


def test_a_network_that_knows_the_data_samples_it(folder, monkeypatch):
    """The walk back ends at the one conformer that every score points to."""
    batch = double(loaded(folder, "val", size=16))
    batch["rigids_0"] = batch["rigids_0"][:1].expand(16, -1, -1).clone()
    it = module().double()
    it.loss(batch)
    clean, d = rigid.from_tensor_7(batch["rigids_0"]), it.diffuser

    def known(told):
        x, t = rigid.from_tensor_7(told["rigids_t"]), told["t"]
        return {
            "rot_score": d.calc_rot_score(x.rots, clean.rots, t),
            "trans_score": d.calc_trans_score(x.trans, clean.trans, t),
            "rigids": told["rigids_t"],
        }

    monkeypatch.setattr(it.model, "forward", known)
    torch.manual_seed(0)
    end = rigid.from_tensor_7(it.sample(batch, num_steps=300, min_t=0.01)["rigids"])
    assert rotation.angle(clean.rots.mT @ end.rots).square().mean().sqrt() < 0.35
    assert (end.trans - clean.trans).square().sum(-1).mean().sqrt() < 0.3


def trained(folder, home, it, epochs=5, **how):
    lightning = pytest.importorskip("lightning")
    torch.manual_seed(0)
    train, val = dataset(folder), dataset(folder, "val")
    val.coord_scale = float(train.coord_scale)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer = lightning.Trainer(
            max_epochs=epochs, enable_progress_bar=False, enable_model_summary=False,
            accelerator="cpu", logger=False, default_root_dir=home, **how,
        )  # fmt: skip
        trainer.fit(it, DataLoader(train, 8, shuffle=True), DataLoader(val, 9))
    return trainer


def test_a_trainer_trains_it_and_keeps_its_best(folder, tmp_path):
    it = backbone.SE3Module(model_conf=SMALL, se3_conf={}, lr=1e-3)
    batch = loaded(folder, "val", size=18)
    before = it.loss(batch)["loss"].item()
    trainer = trained(folder, tmp_path, it)
    terms = "loss", "rot_loss", "trans_loss", "psi_loss"
    assert {f"{s}_{k}" for s in ("train", "val") for k in terms} <= trainer.callback_metrics.keys()
    assert it.loss(batch)["loss"].item() < before
    assert isinstance(it.configure_optimizers(), torch.optim.Adam)
    assert trainer.optimizers[0].param_groups[0]["lr"] == 1e-3
    best, last = trainer.checkpoint_callbacks
    assert (best.monitor, best.save_top_k) == ("val_loss", 3)
    kept = sorted(p.name for p in (tmp_path / "checkpoints").iterdir())
    assert "last.ckpt" in kept
    assert len(kept) == 4
    again = backbone.SE3Module.load_from_checkpoint(last.best_model_path, weights_only=False)
    for key, value in again.loss(batch).items():
        torch.testing.assert_close(value, it.loss(batch)[key])
    assert again.lr == 1e-3
    assert again.diffuser.r3.coordinate_scaling == it.diffuser.r3.coordinate_scaling != 0.1


def test_what_a_trainer_is_told_to_keep_it_keeps(folder, tmp_path):
    callbacks = pytest.importorskip("lightning.pytorch.callbacks")
    mine = callbacks.ModelCheckpoint(tmp_path / "mine", monitor="val_psi_loss", save_top_k=1)
    it = backbone.SE3Module(model_conf=SMALL, se3_conf={})
    assert trained(folder, tmp_path, it, 1, callbacks=[mine]).checkpoint_callbacks == [mine]
    it = backbone.SE3Module(model_conf=SMALL, se3_conf={})
    assert not trained(folder, tmp_path, it, 1, enable_checkpointing=False).checkpoint_callbacks
    assert [p.name for p in tmp_path.iterdir()] == ["mine"]


def test_without_lightning_it_is_a_module_for_ones_own_loop(folder, monkeypatch):
    real = builtins.__import__

    def without(name, *args):
        if name.startswith("lightning"):
            raise ImportError(name)
        return real(name, *args)

    monkeypatch.setattr(builtins, "__import__", without)
    spec = importlib.util.find_spec("genmatter.domains.backbone.reference")
    alone = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(alone)
    it = alone.SE3Module(SMALL, {}, lr=1e-3)
    assert not hasattr(it, "trainer")
    batch, adam = loaded(folder), it.configure_optimizers()
    for _ in range(3):
        adam.zero_grad()
        it.training_step(batch, 0).backward()
        adam.step()
    it.validation_step(batch, 0)
    assert it.logged.keys() >= {"train_rot_loss", "val_loss"}
    assert it.logged["val_loss"] > 0


FLAGS = {
    "--batch_size": ("optim.batch_size", "8", 8),
    "--epochs": ("optim.epochs", "100", 100),
    "--lr": ("optim.lr", "1e-4", 1e-4),
    "--suffix": ("data.suffix", "_latent", "_latent"),
    "--data_dir": ("data.source", "data", "data"),
    "--atlas_csv": ("data.atlas_csv", "atlas.csv", "atlas.csv"),
    "--train_split": ("data.train_split", "frame_splits.csv", "frame_splits.csv"),
    "--frame_interval": ("data.frame_interval", "5", 5),
    "--crop_ratio": ("crop_ratio", ".95", 0.95),
    "--min_t": ("min_t", ".01", 0.01),
    "--rot_loss_weight": ("rot_loss_weight", "2", 2.0),
    "--trans_loss_weight": ("trans_loss_weight", "2", 2.0),
    "--psi_loss_weight": ("psi_loss_weight", "2", 2.0),
    "--so3.min_sigma": ("so3.min_sigma", ".1", 0.1),
    "--so3.max_sigma": ("so3.max_sigma", "1.5", 1.5),
    "--r3.min_b": ("r3.min_b", ".1", 0.1),
    "--r3.max_b": ("r3.max_b", "20", 20.0),
    "--node_embed_size": ("node_embed_size", "256", 256),
    "--edge_embed_size": ("edge_embed_size", "128", 128),
    "--ipa.num_blocks": ("ipa.num_blocks", "4", 4),
    "--ipa.no_heads": ("ipa.no_heads", "12", 12),
    "--ipa.seq_tfmr_num_layers": ("ipa.seq_tfmr_num_layers", "2", 2),
}


@pytest.mark.parametrize("flag", FLAGS)
def test_flags_are_the_references(flag):
    path, word, value = FLAGS[flag]
    found = parse(BackboneDiffusionConfig, [flag, word])
    for part in path.split("."):
        found = getattr(found, part)
    assert found == value


def test_real_frames_are_read(real_data):
    home = real_data / "backbone"
    args = {"data_dir": home, "train_split": home / "frame_splits.csv"}
    data = backbone.MDGenDataset(args=args, diffuser=backbone.SE3Diffuser(), mode="val")
    it, sizes = module(), set()
    for batch in (next(iter(DataLoader([data[k]]))) for k in (0, len(data) - 1)):
        sizes.add(batch["aatype"].shape[1])
        assert (batch["atom37_pos"][0, :, 1].diff(dim=0).norm(dim=-1) - 3.8).abs().max() < 0.4
        assert all(x.isfinite() for x in it.loss(batch).values())
    assert sizes == {5, 10}
    assert 0.2 < data.coord_scale < 0.5


def test_its_defaults_are_a_preset():
    c = BackboneDiffusionConfig.presets["reference"]
    assert (c.diffuse_rot, c.diffuse_trans) == (True, True)
    assert (c.so3.min_sigma, c.so3.max_sigma, c.r3.min_b, c.r3.max_b) == (0.1, 1.5, 0.1, 20.0)
    assert (c.rot_loss_weight, c.trans_loss_weight, c.psi_loss_weight) == (1, 1, 1)
    assert (c.crop_ratio, c.min_t, c.data.frame_interval) == (0.95, 0.01, 0)
    assert (c.optim.batch_size, c.optim.epochs, c.optim.lr) == (8, 100, 1e-4)
    told = DEFAULTS["ipa"]
    assert {k: getattr(c.ipa, k) for k in told} == told


def test_its_command_trains(folder, tmp_path):
    args = told(folder)
    argv = ["train", "backbone/diffusion", "--preset", "tiny"]
    for key, value in args.items():
        argv += [f"--{key}", value]
    argv += ["--batch_size", "8", "--epochs", "1", "--lr", "1e-4", "--save_dir",
             str(tmp_path / "run"), "--device", "cpu"]  # fmt: skip
    assert not main(argv)
    assert {"config.yaml", "checkpoints", "history.jsonl"} <= {
        p.name for p in (tmp_path / "run").iterdir()
    }
