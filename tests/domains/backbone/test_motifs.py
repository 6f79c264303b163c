import pytest
import torch
from proteins import frames, protein

from genmatter.domains.backbone.conformers import Conformers, Trajectory
from genmatter.domains.backbone.formats import write
from genmatter.domains.backbone.motifs import motif, residues_named
from genmatter.errors import ConfigError

NINE = protein("GAYPKWAAA", first=5, chains="AAAAAABBB")


@pytest.mark.parametrize(
    ("names", "places"),
    [
        ("7", [2]),
        ("5-7,9", [0, 1, 2, 4]),
        (" 5 - 7 , 9 ", [0, 1, 2, 4]),
        ("A5-6,B12", [0, 1, 7]),
        ("10-12", [5, 6, 7]),
        ("5,5,6", [0, 1]),
    ],
)
def test_residues_go_by_number_and_chain(names, places):
    assert residues_named(names, NINE).nonzero()[:, 0].tolist() == places


def test_numbers_below_zero_are_numbers():
    early = protein("GAYPKW", first=-3)
    assert residues_named("-3--1", early).nonzero()[:, 0].tolist() == [0, 1, 2]
    assert residues_named("-1-1", early).nonzero()[:, 0].tolist() == [2, 3, 4]


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ("x", "names no residues"),
        ("", "names no residues"),
        ("3-", "names no residues"),
        ("4", "go from 5 to 13"),
        ("12-14", "go from 5 to 13"),
        ("9-7", "go from 5 to 13"),
        ("B5", "go from 5 to 13"),
        ("5-13", "whole protein"),
    ],
)
def test_what_names_nothing_is_refused(names, words):
    with pytest.raises(ConfigError, match=words):
        residues_named(names, NINE)


def test_coordinates_are_the_kept_ones_or_a_file_s(tmp_path):
    one, kept = protein(), torch.randn(6, 5, 3)
    assert motif("", one, kept) is kept
    path = tmp_path / "motif.pdb"
    x = Conformers.all([Trajectory(one, frames(1).numpy())])
    write(x, path)
    found = motif(str(path), one, kept)
    gaps = lambda y: torch.cdist(y[:, 1], y[:, 1])
    torch.testing.assert_close(gaps(found), gaps(x.backbone()[0]), atol=2e-3, rtol=0)


def test_a_motif_of_another_protein_or_of_none_is_refused(tmp_path):
    write(Conformers.all([Trajectory(protein(), frames(1).numpy())]), tmp_path / "motif.pdb")
    with pytest.raises(ConfigError, match="holds GAYPKW"):
        motif(str(tmp_path / "motif.pdb"), protein("AAAAAA"), None)
    with pytest.raises(ConfigError, match="motif_from"):
        motif("", protein(), None)
