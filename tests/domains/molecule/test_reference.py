"""Every name, key, default, loss and flag of the reference, each used as it is there."""

import csv
import gzip
import inspect
import json
import math
from dataclasses import replace
from itertools import islice

import pytest
import torch
from torch.utils.data import DataLoader

from genmatter.cli import main
from genmatter.config import parse, replaced
from genmatter.domains import molecule
from genmatter.domains.molecule.config import MoleculeCVAEConfig
from genmatter.domains.molecule.cvae import build
from genmatter.domains.molecule.drugs import DRUGS
from genmatter.domains.molecule.formats import write
from genmatter.domains.molecule.molecules import Molecules, canonical
from genmatter.domains.molecule.represent import MoleculeTokens
from genmatter.domains.molecule.sequences import before
from genmatter.domains.molecule.tokens import BLANK, END, PAD, SPECIAL, START
from genmatter.errors import ConfigError, DataError, RepresentationError

REFERENCE = MoleculeCVAEConfig.presets["reference"]
SMILES = [*DRUGS.values()]
SMALL = replaced(REFERENCE, {"embedding_dim": 16, "hidden_dim": 24, "latent_dim": 8})
SIGNATURES = {
    "MoleculeDataset": ["molecules", "max_length"],
    "recon_loss": ["logits", "tokens"],
    "kl_loss": ["mu", "sigma", "free_bits"],
    "mutual_information": ["mu", "sigma", "z"],
    "collapse_penalty": ["mu", "sigma", "z", "target"],
    "prop_loss": ["predicted", "properties"],
    "encoder_loss": ["model", "batch", "epoch"],
    "decoder_loss": ["model", "batch", "epoch"],
    "complete_vae_loss": ["model", "batch", "epoch"],
    "sampling_decoder": ["model", "z", "given", "temperature"],
}
DEFAULTS = {"max_length": 80, "free_bits": 0.5, "temperature": 1.0}


@pytest.mark.parametrize("name", SIGNATURES)
def test_names_and_defaults_are_the_references(name):
    found = inspect.signature(getattr(molecule, name)).parameters
    assert list(found)[: len(SIGNATURES[name])] == SIGNATURES[name]
    for parameter in SIGNATURES[name]:
        if parameter in DEFAULTS:
            assert found[parameter].default == DEFAULTS[parameter]


def test_all_names_can_be_imported_from_the_domain():
    from genmatter.domains.molecule import reference

    assert set(reference.__all__) == set(molecule._NAMES) <= set(dir(molecule))
    assert all(getattr(molecule, name) is getattr(reference, name) for name in reference.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'Molecule'"):
        molecule.Molecule  # noqa: B018


@pytest.fixture(scope="module")
def molecules():
    return Molecules.of([canonical(s) for s in SMILES[:60]])


@pytest.fixture(scope="module")
def dataset(molecules):
    return molecule.MoleculeDataset(molecules, max_length=200)


@pytest.fixture(scope="module")
def batch(dataset):
    return dataset.batch(next(iter(DataLoader(dataset, 32))))


def made(dataset, **fields):
    torch.manual_seed(0)
    return build(replaced(SMALL, fields), dataset.representation).eval()


def posterior(n=6, units=3, seed=0):
    g = torch.Generator().manual_seed(seed)
    mu, sigma = torch.randn(n, units, generator=g), torch.rand(n, units, generator=g) + 0.2
    return mu, sigma, mu + sigma * torch.randn(n, units, generator=g)


# the data set


def test_special_tokens_are_the_references(dataset):
    assert (PAD, START, END) == (0, 1, 2)
    assert [dataset.token_to_idx[s] for s in ("[PAD]", "[START]", "[END]")] == [0, 1, 2]
    assert {k: dataset.idx_to_token[v] for k, v in dataset.token_to_idx.items()} == {
        k: k for k in dataset.token_to_idx
    }
    assert dataset.vocab_size == len(dataset.token_to_idx) == dataset.representation.size


def test_items_spell_their_molecules_between_start_and_end(dataset, molecules):
    assert len(dataset) == len(molecules)
    for k in (0, 17, -1):
        item = dataset[k]
        assert item["tokens"].shape == (200,)
        tokens = item["tokens"].tolist()
        size = tokens.index(END)
        names = [dataset.idx_to_token[t] for t in tokens[1:size]]
        assert tokens[0] == START
        assert "".join(names) == molecules.selfies[k]
        assert set(tokens[size + 1 :]) <= {PAD}
    with pytest.raises(IndexError):
        dataset[len(molecules)]


def test_properties_are_tpsa_in_standard_deviations(dataset, molecules):
    from rdkit.Chem.rdMolDescriptors import CalcTPSA

    area = torch.tensor([CalcTPSA(m) for m in molecules.mols()])
    found = torch.cat([x["properties"] for x in dataset])
    torch.testing.assert_close(found * dataset.tpsa_std + dataset.tpsa_mean, area)
    assert dataset.tpsa_mean == pytest.approx(float(area.mean()))
    assert abs(float(found.std()) - 1) < 1e-4


def test_nothing_is_cut(molecules):
    lengths = [s.count("[") + 2 for s in molecules.selfies]
    over = sum(n > 40 for n in lengths)
    with pytest.raises(DataError, match=rf"{over} of 60 .* more than 40 .* {max(lengths)}, row"):
        molecule.MoleculeDataset(molecules, max_length=40)
    with pytest.warns(UserWarning, match=rf"{over} of 60 .*: they are left out"):
        some = molecule.MoleculeDataset(molecules, max_length=40, longer="skip")
    assert (some.left_out, len(some)) == (over, 60 - over)
    assert all((x["tokens"] == END).sum() == 1 for x in some)
    whole = molecule.MoleculeDataset(molecules, max_length=max(lengths))
    assert (whole.left_out, len(whole)) == (0, 60)
    with pytest.raises(ConfigError, match="refuse or skip"):
        molecule.MoleculeDataset(molecules, longer="cut")


def test_the_split_is_80_10_10_and_keeps_copies_together(molecules):
    twice = Molecules.of([*molecules.smiles, *molecules.smiles[:30]])
    data = molecule.MoleculeDataset(twice, max_length=200)
    assert inspect.signature(data.split).parameters["seed"].default == 67
    parts = data.split()
    assert sorted(k for part in parts for k in part.indices) == list(range(90))
    kinds = [{twice.smiles[k] for k in part.indices} for part in parts]
    assert [len(k) for k in kinds] == [48, 6, 6]
    assert not kinds[0] & kinds[1] | kinds[0] & kinds[2] | kinds[1] & kinds[2]
    assert [p.indices for p in data.split()] == [p.indices for p in parts]
    assert data.split(seed=68)[0].indices != parts[0].indices


def test_loaders_make_batches_that_models_take(dataset, molecules):
    train, _, _ = dataset.split()
    items = next(iter(DataLoader(train, 16, shuffle=True)))
    assert items["tokens"].shape == (16, 200)
    assert items["properties"].shape == (16, 1)
    found = dataset.batch(items)
    assert found.tokens.shape[1] == int(found.sizes.max())
    assert made(dataset).loss(found, 1.0).total.isfinite().all()
    whole = dataset.batch(next(iter(DataLoader(dataset, len(dataset)))))
    want = dataset.representation.encode(molecules)
    for name, x in want.tensors.items():
        assert getattr(whole, name).equal(x.to(getattr(whole, name))), name


def test_a_models_own_tokens_can_be_asked_for(molecules):
    config = replace(MoleculeCVAEConfig.presets["tiny"], merges=10)
    merged = MoleculeTokens.fit(molecules, config)
    data = molecule.MoleculeDataset(molecules, representation=merged)
    assert data.vocab_size == merged.size
    found = data.batch(next(iter(DataLoader(data, 8))))
    assert found.wanted.shape == (8, 2)
    assert found.properties.shape == (8, 3)
    assert found.tokens.equal(merged.encode(molecules[:8]).tokens.long())
    with pytest.raises(RepresentationError, match="no training molecule has"):
        molecule.MoleculeDataset(Molecules.of(["C[Se]C"]), representation=merged)


def test_the_json_is_read_as_it_is_written(molecules, tmp_path):
    path = tmp_path / "chembl_cns_selfies.json"
    write(molecules, path)
    told = json.loads(path.read_text())
    told["molecules"][0]["tpsa"] = 12.5  # the file's own number, not RDKit's
    told["tpsa_mean"], told["tpsa_std"] = 50.0, 10.0
    told["molecules"][1]["selfies"] = "[O][C][C]"  # ethanol, but not as it is written canonically
    path.write_text(json.dumps(told))
    data = molecule.MoleculeDataset(path, max_length=told["max_length"])
    assert (data.tpsa_mean, data.tpsa_std) == (50.0, 10.0)
    assert float(data[0]["properties"]) == pytest.approx((12.5 - 50) / 10)
    assert data.vocab_size == told["vocab_size"] + 1  # [BLANK]
    names = {int(k): s for k, s in told["idx_to_token"].items()}
    for k, row in enumerate(told["tokenized_sequences"]):
        mine = [data.idx_to_token[t] for t in data[k]["tokens"].tolist()]
        if k == 1:
            assert mine[:5] == ["[START]", "[O]", "[C]", "[C]", "[END]"]
        else:
            assert mine == [names[t] for t in row]
    del told["tpsa_mean"], told["molecules"]
    path.write_text(json.dumps(told))
    plain = molecule.MoleculeDataset(str(path), max_length=told["max_length"])
    assert plain.tpsa_mean == pytest.approx(molecule.MoleculeDataset(molecules, 200).tpsa_mean)
    told |= {"tpsa_mean": 1.0, "tpsa_std": 0.0}
    path.write_text(json.dumps(told))
    with pytest.raises(DataError, match="tpsa_std should be above 0, got 0"):
        molecule.MoleculeDataset(path, max_length=told["max_length"])


def test_rows_that_are_no_molecules_are_refused(tmp_path):
    (tmp_path / "x.csv").write_text("smiles\nCCO\nC(\nCC\n")
    with pytest.raises(DataError, match="1 of 3 rows are no molecules, row 2 first"):
        molecule.MoleculeDataset(tmp_path / "x.csv")
    with pytest.raises(DataError, match="there is no file"):
        molecule.MoleculeDataset(tmp_path / "y.json")


# the losses, one by one


def test_recon_is_a_sum_over_tokens_in_nats():
    tokens = torch.tensor([[5, 4, END, PAD], [END, PAD, PAD, PAD], [BLANK, 6, 5, END]])
    even = molecule.recon_loss(torch.zeros(3, 4, 7), tokens)
    torch.testing.assert_close(even, torch.tensor([3.0, 1.0, 3.0]) * math.log(7))
    logits = torch.randn(3, 4, 7, generator=torch.Generator().manual_seed(0))
    want = -logits.log_softmax(-1)[1, 0, END]
    torch.testing.assert_close(molecule.recon_loss(logits, tokens)[1], want)


def test_kl_is_a_sum_over_units_with_an_allowance_for_the_mean_of_each():
    mu, sigma, _ = posterior()
    each = (mu**2 + sigma**2 - 1) / 2 - sigma.log()
    torch.testing.assert_close(molecule.kl_loss(mu, sigma, 0.0), each.sum(1))
    for free in (0.1, 0.5, 2.0):
        want = each.mean(0).clamp(min=free).sum()
        torch.testing.assert_close(molecule.kl_loss(mu, sigma, free).mean(), want)
    nothing = molecule.kl_loss(torch.zeros(4, 128), torch.ones(4, 128))
    torch.testing.assert_close(nothing, torch.full((4,), 64.0))


def test_information_is_nothing_where_posteriors_are_alike_and_ln_n_where_they_are_apart():
    z = torch.randn(16, 3, generator=torch.Generator().manual_seed(0))
    alike = torch.zeros(16, 3), torch.ones(16, 3)
    assert abs(float(molecule.mutual_information(*alike, z))) < 1e-5
    assert float(molecule.collapse_penalty(*alike, z)) == pytest.approx(4.0, abs=1e-5)
    apart = torch.arange(16.0)[:, None].expand(16, 3) * 100, torch.ones(16, 3)
    found = molecule.mutual_information(*apart, apart[0] + z)
    torch.testing.assert_close(found, torch.tensor(math.log(16)))
    assert float(molecule.collapse_penalty(*apart, apart[0] + z, target=2.0)) == 0
    torch.testing.assert_close(molecule.collapse_penalty(*apart, apart[0] + z), 4 - found)


def test_prop_is_half_the_squared_error_of_what_is_known():
    found = molecule.prop_loss(
        torch.tensor([[1.0, 5.0], [2.0, 0.0]]), torch.tensor([[0.0, torch.nan], [0.0, 1.0]])
    )
    torch.testing.assert_close(found, torch.tensor([0.5, 2.5]))


def test_losses_are_the_terms_of_the_model(dataset, batch):
    model = made(dataset)
    torch.manual_seed(1)
    terms = model.loss(batch, math.inf).terms
    shown = model._shown(batch, 0.4)
    torch.manual_seed(1)
    q = model.vae.encoder(shown)
    z = q.rsample()
    with torch.no_grad():
        logits = model.vae.decoder.net(before(batch.tokens), z, shown.told)
    want = {
        "reconstruction": molecule.recon_loss(logits, batch.tokens),
        "information": -molecule.mutual_information(q.mean, q.std, z),
        "collapse": molecule.collapse_penalty(q.mean, q.std, z),
        "properties": molecule.prop_loss(model.predictor(z), batch.properties),
    }
    assert terms.keys() == {*want, "kl", "free_bits"}
    for name, value in want.items():
        torch.testing.assert_close(terms[name].mean(), value.mean(), msg=name)
    charged = terms["kl"] + terms["free_bits"]
    torch.testing.assert_close(charged, molecule.kl_loss(q.mean, q.std, 0.5))


@pytest.mark.parametrize("epoch", [0.0, 5.0, math.inf])
def test_the_parts_for_encoder_and_decoder_make_up_the_whole(dataset, batch, epoch):
    model = made(dataset)
    found = []
    for part in (molecule.complete_vae_loss, molecule.encoder_loss, molecule.decoder_loss):
        torch.manual_seed(1)
        found.append(part(model, batch, epoch))
    torch.testing.assert_close(found[1] + found[2], found[0]["loss"])


def test_a_part_moves_its_own_network_alone(dataset, batch):
    model = made(dataset).train()
    own = {
        "encoder": {k for k, _ in model.named_parameters() if ".encoder." in k},
        "decoder": {k for k, _ in model.named_parameters() if ".decoder." in k},
    }
    shared = "vae.encoder.embed.weight"
    for loss, mine, other in (
        (molecule.encoder_loss, "encoder", "decoder"),
        (molecule.decoder_loss, "decoder", "encoder"),
    ):
        model.zero_grad()
        loss(model, batch, 30.0).backward()
        moved = {
            k for k, p in model.named_parameters() if p.grad is not None and bool(p.grad.any())
        }
        assert own[mine] <= moved
        assert not own[other] & moved - {shared}
        assert any("predictor" in k for k in moved) is (mine == "encoder")


def test_the_complete_loss_tracks_what_the_reference_tracks(dataset, batch):
    model = made(dataset)
    names = {
        "loss", "reconstruction", "kl", "free_bits", "collapse", "mutual_information",
        "properties", "beta", "teacher_forcing",
    }  # fmt: skip
    found = molecule.complete_vae_loss(model, batch, 10.0)
    assert found.keys() == names
    assert 0 <= found["mutual_information"] <= math.log(len(batch))
    assert (float(found["beta"]), float(found["teacher_forcing"])) == pytest.approx((0.2, 0.62))
    c, f = REFERENCE, found
    want = (
        f["reconstruction"] + f["beta"] * (f["kl"] + f["free_bits"])
        + c.lambda_collapse * f["collapse"] - c.lambda_mi * f["mutual_information"]
        + c.lambda_prop * f["properties"]
    )  # fmt: skip
    torch.testing.assert_close(found["loss"], want)
    plain = made(dataset, lambda_mi=0.0, lambda_collapse=0.0, lambda_prop=0.0, free_bits=0.0)
    some = molecule.complete_vae_loss(plain, batch)
    assert some.keys() == {"loss", "reconstruction", "kl", "beta", "teacher_forcing"}


# the networks


def test_the_encoder_reads_the_last_real_state(dataset):
    """What follows END does not matter, what stands just before it does."""
    model = made(dataset)
    items = next(iter(DataLoader(dataset, 8)))
    tokens = items["tokens"][:, 1:]
    short = dataset.batch(items)
    long = short.replace(tokens=tokens, mask=tokens != PAD)
    assert long.tokens.shape[1] > short.tokens.shape[1]
    litter = long.replace(tokens=torch.where(long.mask, tokens, 7))
    rows, last = torch.arange(8), short.sizes - 2
    other = short.tokens.clone()
    other[rows, last] = torch.where(other[rows, last] == 5, 6, 5)
    z = model.to_latent(short)
    torch.testing.assert_close(model.to_latent(long), z)
    torch.testing.assert_close(model.to_latent(litter), z)
    moved = model.to_latent(short.replace(tokens=other))
    assert ((moved - z).abs().amax(1) > 1e-6).all()


def test_the_properties_are_read_with_every_token(dataset, batch):
    model = made(dataset)
    told = SMALL.embedding_dim + 3  # TPSA, that it is known, and that the molecule is one
    assert model.vae.encoder.readers[0].lstm.input_size == told
    assert model.vae.decoder.net.writer.lstm.input_size == told + SMALL.latent_dim
    warm = batch.replace(wanted=batch.wanted + 1)
    assert ((model.to_latent(warm) - model.to_latent(batch)).abs().amax(1) > 1e-5).all()


def test_the_sampling_decoder_has_a_temperature(dataset):
    model = made(dataset)
    given = dataset.representation.prompt(3000, SMALL)
    z = torch.randn(1, SMALL.latent_dim).expand(3000, -1)
    step, state = model.vae.decoder.net.step, model.vae.decoder.net.first
    shown = model._shown(given, 0.4)
    logits, _ = step(torch.tensor([START]), state(z[:1], shown.told[:1]))
    for temperature in (0.25, 1.0, 3.0):
        torch.manual_seed(0)
        first = molecule.sampling_decoder(model, z, given, temperature)[:, 0]
        share = first.bincount(minlength=dataset.vocab_size) / len(first)
        want = (logits[0] / temperature).softmax(-1)
        torch.testing.assert_close(share, want.detach(), atol=0.04, rtol=0)
    greedy = molecule.sampling_decoder(model, z, given, 0.0)
    assert len(greedy.unique(dim=0)) == 1
    assert int(greedy[0, 0]) == int(logits.argmax())
    torch.manual_seed(0)
    top = molecule.sampling_decoder(model, z, given, 3.0, top_k=2)[:, 0]
    assert set(top.tolist()) == set(logits[0].topk(2).indices.tolist())


def test_what_the_sampling_decoder_draws_are_molecules(dataset):
    model, r = made(dataset), dataset.representation
    torch.manual_seed(0)
    given = r.prompt(20, replaced(SMALL, {"target": ("tpsa=60",)}))
    tokens = molecule.sampling_decoder(model, torch.randn(20, SMALL.latent_dim), given)
    inside = tokens[tokens != PAD]
    assert not torch.isin(inside, torch.tensor([START, BLANK])).any()
    found = r.decode(given.replace(tokens=tokens, mask=tokens != PAD))
    assert sum(map(bool, found.smiles)) > 15


def test_the_model_is_about_as_large_as_the_references():
    """2.06 million numbers for 95 tokens there; 2.4 to 2.5 here, in LSTM layers as large.

    What is more: a hidden layer between the last state and the latent's mean and width, which
    TPSA scales and shifts (.20), and z at every step of the decoder beside its first state (.13).
    What is less: embeddings and the output's weights are the same.
    """
    tokens = MoleculeTokens(
        symbols=tuple(f"[{k}]" for k in range(95 - len(SPECIAL))), left=(), right=(),
        conditions=("tpsa",), predicted=(), means=(0.0,), scales=(1.0,), longest=79,
    )  # fmt: skip
    assert tokens.size == 95
    model = build(REFERENCE, tokens)
    size = sum(p.numel() for p in model.parameters())
    assert 2.3e6 < size < 2.6e6
    layers = sum(p.numel() for k, p in model.named_parameters() if "lstm" in k)
    gates = lambda inputs: 4 * 256 * (inputs + 256 + 2)
    assert layers == gates(128 + 3) + gates(128 + 3 + 128) + 2 * gates(256)


# the command


PRESET = {
    "optim.epochs": 50, "optim.batch_size": 128, "optim.lr": 1e-4, "optim.grad_clip": 1.0,
    "optim.weight_decay": 0.0, "optim.schedule": "constant", "optim.ema": 0.0,
    "beta_start": 0.0, "beta_end": 0.4, "beta_warmup_epochs": 20, "free_bits": 0.5,
    "lambda_collapse": 0.1, "lambda_mi": 0.01, "lambda_prop": 0.1,
    "teacher_forcing_start": 0.7, "teacher_forcing_end": 0.3,
    "embedding_dim": 128, "hidden_dim": 256, "decoder_dim": 0, "latent_dim": 128,
    "num_layers": 2, "dropout": 0.2, "bidirectional": False,
    "conditions": ("tpsa",), "hide_conditions": 0.0, "tokens": "symbols", "seed": 67,
    "data.data_seed": 67, "data.molecules": 20_000, "data.split": "random",
    "data.valid_fraction": 0.1, "data.test_fraction": 0.1,
}  # fmt: skip


@pytest.mark.parametrize("path", PRESET)
def test_its_defaults_are_a_preset(path):
    found = REFERENCE
    for part in path.split("."):
        found = getattr(found, part)
    assert found == PRESET[path]


FLAGS = {
    "--epochs": ("optim.epochs", "50", 50),
    "--batch_size": ("optim.batch_size", "128", 128),
    "--learning_rate": ("optim.lr", "1e-4", 1e-4),
    "--beta_start": ("beta_start", "0.1", 0.1),
    "--beta_end": ("beta_end", "0.4", 0.4),
    "--beta_warmup_epochs": ("beta_warmup_epochs", "20", 20.0),
    "--free_bits": ("free_bits", "0.25", 0.25),
    "--lambda_collapse": ("lambda_collapse", "0.2", 0.2),
    "--lambda_mi": ("lambda_mi", "0.02", 0.02),
    "--grad_clip": ("optim.grad_clip", "1.0", 1.0),
    "--embedding_dim": ("embedding_dim", "64", 64),
    "--hidden_dim": ("hidden_dim", "512", 512),
    "--latent_dim": ("latent_dim", "64", 64),
    "--num_layers": ("num_layers", "3", 3),
    "--dropout": ("dropout", "0.1", 0.1),
}


@pytest.mark.parametrize("flag", FLAGS)
def test_flags_are_the_references(flag):
    path, word, value = FLAGS[flag]
    found = parse(MoleculeCVAEConfig, [flag, word])
    for part in path.split("."):
        found = getattr(found, part)
    assert found == value


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "x.csv"
    short = sorted(SMILES, key=len)[:120]
    path.write_text("smiles\n" + "".join(f"{s}\n" for s in short))
    return path


def train(table, run, *more):
    """Trains as the reference's script does, with small networks on few molecules."""
    sizes = [
        "--batch_size",
        "64",
        "--embedding_dim",
        "16",
        "--hidden_dim",
        "16",
        "--latent_dim",
        "8",
    ]
    return main(
        ["train", "molecule/cvae", "--preset", "reference", "--data", str(table),
         "--run", str(run), "--device", "cpu", *sizes, *more]
    )  # fmt: skip


def history(run):
    return json.loads((run / "training_history.json").read_text())


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("GENMATTER_CACHE", str(tmp_path / "cache"))


def test_its_command_trains_resumes_and_begins_again(cache, table, tmp_path, capsys):
    run = tmp_path / "run"
    assert not train(table, run, "--epochs", "2", "--beta_warmup_epochs", "1")
    assert {"training_history.json", "training_history.png", "checkpoints"} <= {
        p.name for p in run.iterdir()
    }
    assert {p.stem for p in (run / "checkpoints").iterdir()} == {"best", "last"}
    first = history(run)
    terms = ("total", "reconstruction", "kl", "collapse", "information")
    assert {f"{s}/{k}" for s in ("train", "valid") for k in terms} <= first.keys()
    assert first["weight_kl"][-1] == pytest.approx(0.4)
    # what is there is neither cleared nor mixed up without being asked for
    assert train(table, run, "--epochs", "2") == 2
    assert "add --resume or --overwrite" in capsys.readouterr().err
    # more epochs: the first ones are as they were
    assert not main(["train", "molecule/cvae", "--run", str(run), "--resume", "--epochs", "3"])
    longer = history(run)
    assert longer["epoch"] == [1, 2, 3]
    assert longer["train/total"][:2] == first["train/total"]
    # and it begins again from nothing
    assert not train(table, run, "--epochs", "2", "--beta_warmup_epochs", "1", "--overwrite")
    assert history(run)["valid/total"] == first["valid/total"]


def test_the_history_has_the_schedules_and_says_them(cache, table, tmp_path, capsys):
    run = tmp_path / "run"
    assert not train(table, run, "--epochs", "2", "--beta_warmup_epochs", "1", "--verbose")
    found = history(run)
    assert found["beta"][0] < found["beta"][-1] <= 0.4
    assert 0.7 >= found["teacher_forcing"][0] > found["teacher_forcing"][-1] >= 0.3
    said = capsys.readouterr().out.splitlines()
    assert sum("teacher_forcing" in line and "valid/information" in line for line in said) == 2


def test_real_molecules_make_such_a_data_set(real_data, tmp_path):
    with gzip.open(real_data / "molecules" / "chembl_cns_like_train.csv.gz", "rt") as file:
        smiles = [canonical(row["smiles"]) for row in islice(csv.DictReader(file), 500)]
    write(Molecules.of(smiles), tmp_path / "x.json")
    data = molecule.MoleculeDataset(tmp_path / "x.json")
    assert len(data) == 500
    assert all((x["tokens"] == END).sum() == 1 for x in data)
    assert 30 < data.tpsa_mean < 60
    assert sum(len(part) for part in data.split()) == 500
