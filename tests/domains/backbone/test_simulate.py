import math
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from genmatter.domains.backbone import dynamics
from genmatter.domains.backbone import simulate as module
from genmatter.domains.backbone.config import PeptideConfig
from genmatter.domains.backbone.dynamics import Dynamics
from genmatter.domains.backbone.peptide import LETTERS, protein
from genmatter.domains.backbone.simulate import simulate
from genmatter.domains.backbone.torsions import torsions
from genmatter.errors import ConfigError, DataError, MissingExtraError
from genmatter.maths.atoms import dihedral
from genmatter.maths.residues import ATOM14_MASK, aatype
from genmatter.maths.rigid import from_three_points

PEPTIDE = PeptideConfig(sequence="AAAAA", nanoseconds=0.02, replicas=1)
SHORT = PeptideConfig(sequence="AGS", nanoseconds=0.005, replicas=1, temperature=300.0)


@pytest.fixture
def md(monkeypatch, tmp_path):
    """OpenMM, an empty cache, and stretches of 2 ps."""
    pytest.importorskip("openmm", reason="the extra [md] is not installed")
    monkeypatch.setenv("GENMATTER_CACHE", str(tmp_path))
    monkeypatch.setattr(module, "_STRETCH_PS", 18.0)
    monkeypatch.setattr(module, "_SETTLE_PS", 2.0)
    return tmp_path


def atoms(trajectory):
    return torch.from_numpy(np.array(trajectory.atoms))


class Killed(BaseException):
    """What no code expects."""


def killed(*of):
    raise Killed


def test_frames_are_those_of_the_peptide_without_its_caps(md):
    (found,) = simulate(PEPTIDE, 0)
    x = atoms(found)
    assert x.shape == (20, 5, 14, 3)
    assert x.dtype == torch.float32
    assert found.protein == protein(PEPTIDE)
    assert found.protein.numbers == (2, 3, 4, 5, 6)
    assert (found.frame_ps, found.replica, found.complete) == (1.0, 1, True)
    assert x[:, :, 1].mean(1).abs().max() < 1e-5
    assert ((x != 0).any(-1) == ATOM14_MASK[aatype("AAAAA")]).all()
    n, ca, c, o, cb = x[:, :, :5].unbind(2)
    for a, b, length in [(n, ca, 1.46), (ca, c, 1.53), (c, o, 1.23), (ca, cb, 1.53)]:
        assert abs((a - b).norm(dim=-1).mean() - length) < 0.03
    assert abs((n[:, 1:] - c[:, :-1]).norm(dim=-1).mean() - 1.34) < 0.03
    assert from_three_points(c, ca, n).invert_apply(cb)[..., 2].max() < -0.5  # left-handed
    assert x.diff(dim=0).norm(dim=-1).amax((1, 2)).min() > 0.5


@pytest.mark.parametrize("twist", module._STARTS)
def test_peptides_of_all_residues_are_built_with_their_torsions_and_caps(md, twist):
    built = Dynamics.of(replace(SHORT, sequence=LETTERS), twist)
    x = torch.from_numpy(built._frame(built.built)).double()
    assert ((x != 0).any(-1) == ATOM14_MASK[aatype(LETTERS)]).all()
    n, ca, c = x[:, :3].unbind(1)
    phi = dihedral(c[:-1], n[1:], ca[1:], c[1:])
    psi = dihedral(n[:-1], ca[:-1], c[:-1], n[1:])
    for found, expected in [(phi, twist[0]), (psi, twist[1])]:
        assert (found - math.radians(expected)).abs().max() < 0.02
    own = {int(atom) for atom in built.slots[:, 0]}
    masses = [built.system.getParticleMass(i)._value for i in range(len(built.built))]
    heavy = [m > 4 for m in masses]
    assert sum(heavy) == len(own) + 5  # ACE has three and NME two


def test_the_temperature_is_the_one_that_is_asked_for(md):
    warm = Dynamics.of(replace(SHORT, temperature=330.0, save_ps=0.2), module._STARTS[0])
    state = warm.follow(warm.start(1), 50, 1).state
    found = warm.follow(state, 200, 2)
    free = 3 * len(warm.built) - warm.system.getNumConstraints()
    # velocities forget themselves in 1 ps, so that a fifth of the frames are independent
    error = 330 * math.sqrt(2 / free / 40)
    assert abs(found.kelvin - 330) < 4 * error < 60


def test_what_was_simulated_is_taken_and_not_simulated_again(md, monkeypatch):
    first = simulate(SHORT, 0)
    monkeypatch.setattr(Dynamics, "of", killed)
    again = simulate(SHORT, 0)
    assert torch.equal(atoms(first[0]), atoms(again[0]))
    for other in [
        replace(SHORT, temperature=310.0),
        replace(SHORT, sequence="AGA"),
        replace(SHORT, save_ps=2.0),
        replace(SHORT, force_field="amber99sb.xml,amber99_obc.xml"),
        replace(SHORT, replicas=2),
    ]:
        with pytest.raises(Killed):
            simulate(other, 0)
    with pytest.raises(Killed):
        simulate(SHORT, 1)


@pytest.mark.parametrize("where", ["_put", "_save"])
@pytest.mark.parametrize("after", [0, 2])
def test_a_simulation_that_is_killed_goes_on_with_the_same_frames(md, monkeypatch, where, after):
    whole = atoms(simulate(SHORT, 0)[0])
    monkeypatch.setenv("GENMATTER_CACHE", str(md / "other"))
    with monkeypatch.context() as patch:
        real, calls = getattr(module, where), []

        def dies(*given):
            calls.append(given)
            return killed() if len(calls) > after else real(*given)

        patch.setattr(module, where, dies)
        with pytest.raises(Killed):
            simulate(SHORT, 0)
    follow, begun = Dynamics.follow, []
    monkeypatch.setattr(
        Dynamics, "follow", lambda self, *how: begun.append(how) or follow(self, *how)
    )
    assert torch.equal(atoms(simulate(SHORT, 0)[0]), whole)
    settled = 1 if where == "_put" else 0
    assert len(begun) == len(module._plan(SHORT)) - after - settled


def test_frames_are_a_function_of_the_seed_and_not_of_the_global_streams(md, monkeypatch):
    peptide, follow, seeds = replace(SHORT, replicas=2), Dynamics.follow, []
    with monkeypatch.context() as patch:
        patch.setattr(
            Dynamics, "follow", lambda self, *how: seeds.append(how[-1]) or follow(self, *how)
        )
        first, second = simulate(peptide, 0)
        (other,) = simulate(SHORT, 1)
    assert len(set(seeds)) == len(seeds) == 3 * len(module._plan(SHORT))
    monkeypatch.setenv("GENMATTER_CACHE", str(md / "other"))
    torch.rand(3), np.random.default_rng().random()
    for a, b in zip((first, second), simulate(peptide, 0), strict=True):
        assert torch.equal(atoms(a), atoms(b))
    for a in (second, other):
        assert not torch.isclose(atoms(a), atoms(first)).all(-1).flatten(1).all(1).any()


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 and then nothing"])
def test_a_damaged_state_begins_again(md, content):
    (found,) = simulate(SHORT, 0)
    before = atoms(found)
    (state,) = md.glob("simulations/*/*.state.npz")
    state.write_bytes(content)
    assert torch.equal(atoms(simulate(SHORT, 0)[0]), before)


def test_a_peptide_that_explodes_is_told(md):
    dynamics = Dynamics.of(SHORT, module._STARTS[0])
    state = dynamics.start(0)
    with pytest.raises(DataError, match="the peptide exploded"):
        dynamics.follow(state._replace(velocities=1e3 * state.velocities), 1, 0)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ("nothing.xml", "the force field 'nothing.xml' is not one for this: .*nothing.xml"),
        ("amber99sbildn.xml", "has no implicit solvent"),
        ("tip3p.xml,amber99_obc.xml", "No template found"),
    ],
)
def test_force_fields_that_do_not_fit_are_refused(md, files, message):
    with pytest.raises(ConfigError, match=message):
        simulate(replace(SHORT, force_field=files), 0)


def test_other_implicit_solvents_are_taken(md):
    files = "amber14-all.xml, implicit/gbn2.xml"
    assert len(Dynamics.of(replace(SHORT, force_field=files), module._STARTS[0]).slots) == 15


def test_a_cache_that_cannot_be_written_is_told(md, monkeypatch):
    (md / "file").write_text("")
    monkeypatch.setenv("GENMATTER_CACHE", str(md / "file"))
    with pytest.raises(DataError, match=r"cannot keep simulations in .*set GENMATTER_CACHE"):
        simulate(SHORT, 0)


@pytest.mark.parametrize("name", ["openmm", "PeptideBuilder"])
def test_without_the_extra_the_alternatives_are_named(monkeypatch, name):
    monkeypatch.setitem(sys.modules, name, None)
    if name == "PeptideBuilder":
        pytest.importorskip("openmm", reason="the extra [md] is not installed")
    with pytest.raises(MissingExtraError) as error:
        simulate(PEPTIDE, 0)
    for part in (name, "pip install 'genmatter[md]'", "--data", "--pdb", "--simulator torsions"):
        assert part in str(error.value)


@pytest.mark.parametrize("sampler", [simulate, torsions])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"sequence": "AAxA"},
            "residue 3 of the sequence 'AAxA' is 'x'; residues are the capital",
        ),
        ({"sequence": "AA"}, "the sequence 'AA' has 2 residues; peptides of 3 to 50"),
        ({"sequence": "A" * 51}, "has 51 residues"),
        ({"temperature": 0.0}, "temperature is 0.0, but has to be a number above 0"),
        ({"temperature": math.nan}, "temperature is nan"),
        ({"temperature": 2000.0}, "temperature is 2000 K"),
        ({"nanoseconds": -1.0}, "nanoseconds is -1.0"),
        ({"replicas": 0}, "replicas is 0, but has to be at least 1"),
        ({"conformers": 0}, "conformers is 0"),
        ({"save_ps": math.inf}, "save_ps is inf"),
        ({"save_ps": 21.0}, "save_ps is 21, but a replica lasts 0.02 ns"),
    ],
)
def test_what_is_no_peptide_is_refused_before_any_work(monkeypatch, sampler, change, message):
    monkeypatch.setattr(dynamics, "openmm", killed)
    monkeypatch.setattr(module, "openmm", killed)
    with pytest.raises(ConfigError, match=message):
        sampler(replace(PEPTIDE, **change), 0)
