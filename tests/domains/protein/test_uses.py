"""What one does with a run: draws, moves and searches, and what files say of the outcome."""

import csv

import numpy as np
import pytest
import torch

from genmatter import api
from genmatter.cli import main
from genmatter.domains.protein.formats import read
from genmatter.domains.protein.sequences import Numbering, Sequences, letters
from genmatter.domains.protein.variants import differences, exchanged
from genmatter.errors import ConfigError


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    home = tmp_path_factory.mktemp("uses") / "run"
    api.train("protein/vae", preset="tiny", run=home)
    return home


def test_files_say_what_the_model_says(run, tmp_path):
    out = tmp_path / "drawn.fasta"
    found = api.sample(run, 6, out=out).objects
    it = api.load(run)
    told = read(out, ("elbo",), ("cluster",))
    assert told.texts == found.texts
    torch.testing.assert_close(
        told.columns["elbo"], it.bound(found)["elbo"].double(), atol=2e-3, rtol=0
    )
    assert told.labels["cluster"].tolist() == [str(k) for k in it.group(found).tolist()]


def test_draws_are_of_a_label_or_a_cluster(run):
    assert set(api.sample(run, 5, within="subfamily=S2").objects.labels["subfamily"]) == {"S2"}
    assert len(api.sample(run, 5, cluster=1).objects) == 5
    for wrong, why in (("subfamily=S9", "'S9'"), ("clan=A", "no label 'clan'")):
        with pytest.raises(ConfigError, match=why):
            api.sample(run, 5, within=wrong)


def test_steps_between_sequences_are_scored(run, tmp_path):
    out = tmp_path / "steps.fasta"
    assert (
        main(["interpolate", str(run), "--steps", "4", "--copy", "sample", "--out", str(out)]) == 0
    )
    told = read(out, ("elbo",), ("cluster",))
    assert len(told) == 4
    assert told.columns["elbo"].isfinite().all()
    again = api.interpolate(run, steps=4, copy="sample")[0]
    assert again.texts == told.texts  # draws are of their own stream


def test_neighbours_may_be_drawn(run):
    plain = api.neighbours(run, "test:0", 0.1, 8)
    drawn = api.neighbours(run, "test:0", 0.1, 8, copy="sample")
    assert len(plain.objects) < len(drawn.objects) == 8


def test_clusters_go_with_latents_and_into_the_report(run):
    z = api.encode(run, "test")
    kept = np.load(run / "latents.npz")
    it = api.load(run)
    assert len(kept["cluster"]) == len(z)
    assert kept["cluster"].tolist() == it.group(it.splits.test).tolist()
    page = api.report(run, n=20).read_text()
    assert "Clusters, the largest first" in page
    assert "small changes" in page


def test_searches_say_what_was_exchanged(run, tmp_path):
    out = tmp_path / "found.csv"
    told = ["net_charge=max", "elbo>=-60", "--method", "greedy", "--calls", "80"]
    assert main(["search", str(run), *told, "--start", "test:0", "--out", str(out)]) == 0
    start = api.load(run).splits.test[:1]
    rows = list(csv.DictReader(out.read_text().splitlines()))
    assert {"sequence", "net_charge", "elbo", "cost", "changes"} <= rows[0].keys()
    found = Sequences.of(torch.stack([letters(r["sequence"]) for r in rows]), start.numbering)
    assert [r["changes"] for r in rows] == differences(found, start)
    assert all(float(r["elbo"]) >= -62 for r in rows)


def test_one_residue_is_exchanged_at_a_time():
    x = Sequences.of(letters("AC-DE")[None], Numbering((3, 4, 5, 8, 9)))
    found = exchanged(x, 4000, torch.Generator().manual_seed(0))
    assert ((found.residues != x.residues).sum(1) == 1).all()
    assert (found.residues[:, 2] == 0).all()
    assert (found.residues[:, [0, 1, 3, 4]] > 0).all()
    assert len({*found.texts}) == 4 * 19  # each possible one
    assert differences(found[:1], x)[0][1:-1] in {"3", "4", "8", "9"}
    both = Sequences.of(torch.stack([x.residues[0], letters("GC-DW")]), x.numbering)
    assert differences(both, x) == ["", "A3G:E9W"]
