import csv
import sys
import tracemalloc
from dataclasses import replace
from types import ModuleType

import numpy as np
import pytest
import torch
from proteins import SEQUENCE, frames, protein, saved

from genmatter.domains.backbone import archive, sources
from genmatter.domains.backbone.config import BackboneDataConfig, PeptideConfig
from genmatter.domains.backbone.conformers import Conformers, Trajectory
from genmatter.domains.backbone.data import convert, correlation, load, notes, trajectories
from genmatter.domains.backbone.formats import write
from genmatter.domains.backbone.memory import memory
from genmatter.errors import DataError
from genmatter.spine import Splits


def parts(splits):
    return splits.train, splits.valid, splits.test


def told(folder, **fields):
    return BackboneDataConfig(source=str(folder), **fields)


def rows(objects):
    """Returns (protein, replica, frame) of each conformer."""
    found = objects.trajectories
    return [(found[k].protein.name, found[k].replica, f) for k, f in objects.where.tolist()]


@pytest.fixture
def folder(tmp_path):
    """Three replicas of one protein and two of another."""
    saved(tmp_path, "tiny", (1, 2, 3), n=200)
    return saved(tmp_path, "other", (1, 4), n=100, sequence="AAAAA")


def test_whole_replicas_are_held_out_and_ends_are_watched(folder):
    splits = load(told(folder, valid_fraction=0.2, gap=5))
    counts = [{(p, r): 0 for p, r, _ in rows(x)} for x in parts(splits)]
    assert [set(c) for c in counts] == [
        {("tiny", 1), ("tiny", 2), ("other", 1)},
        {("tiny", 1), ("tiny", 2), ("other", 1)},
        {("tiny", 3), ("other", 4)},
    ]
    assert [f for p, r, f in rows(splits.train) if (p, r) == ("tiny", 2)] == [*range(155)]
    assert [f for p, r, f in rows(splits.valid) if (p, r) == ("tiny", 2)] == [*range(160, 200)]
    assert len(splits.test) == 300


def test_other_replicas_can_be_held_out(folder):
    splits = load(told(folder, proteins=("tiny",), test_replicas=(1, 3)))
    assert {r for _, r, _ in rows(splits.test)} == {1, 3}
    assert {(p, r) for p, r, _ in rows(splits.train)} == {("tiny", 2)}


@pytest.mark.parametrize("held", [(5,), (1, 2, 3), (2, 1, 3, 4)])
def test_all_replicas_or_none_cannot_be_held_out(folder, held):
    with pytest.raises(DataError, match="tiny has the replicas 1, 2, 3: of these some, but not a"):
        load(told(folder, proteins=("tiny",), test_replicas=held))


def test_a_replica_that_is_alone_is_split_in_blocks_with_gaps(tmp_path):
    splits = load(told(saved(tmp_path, replicas=(1,), n=1000)))
    train, valid, test = ({f for *_, f in rows(x)} for x in parts(splits))
    assert not train & valid
    assert min(abs(a - b) for a in train for b in valid | test) == 11
    assert len(test) / len(train | valid | test) == pytest.approx(0.2, abs=0.02)
    with pytest.raises(DataError, match=r"tiny_R1.npy: 20 frames are too few"):
        load(told(saved(tmp_path / "few", replicas=(1,), n=20)))


def test_every_so_manieth_frame_is_taken(folder):
    whole, some = load(told(folder)), load(told(folder, frame_interval=4))
    assert len(some.test) == len(whole.test) / 4
    assert all(f % 4 == 0 for x in parts(some) for *_, f in rows(x))


def test_without_frames_to_watch_the_test_frames_are(folder):
    splits = load(told(folder, valid_fraction=0.0))
    assert splits.valid is splits.test
    assert len(splits.train) == 500


@pytest.mark.parametrize("fields", [{"valid_fraction": 1.0}, {"gap": 500}, {"gap": -1}])
def test_shares_that_leave_nothing_are_refused(folder, fields):
    with pytest.raises(DataError, match="200 frames are too few to watch a share of"):
        load(told(folder, proteins=("tiny",), **fields))


TABLE = """name,train_start,train_end,total_frames,train_early_end,val_end
tiny_R1,,100,200,10,120
tiny_R2,30,30,200,10,30
absent_R7,,9,10,1,9
"""


def test_a_table_of_splits_is_obeyed(folder):
    table = folder / "frame_splits.csv"
    table.write_text(TABLE)
    splits = load(told(folder, train_split=str(table)))
    assert rows(splits.train) == [("tiny", 1, f) for f in range(100)]
    assert rows(splits.valid) == [("tiny", 1, f) for f in range(100, 120)]
    expected = [(1, f) for f in range(120, 200)] + [(2, f) for f in range(30, 200)]
    assert [(r, f) for _, r, f in rows(splits.test)] == expected


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("100,200", "100,201", "says that tiny_R1 has 201 frames, but .*tiny_R1.npy has 200"),
        ("100,200,10,120", "130,200,10,120", "row of tiny_R1 does not go up: .*train_end 130"),
        ("100,200", "x,200", "row of tiny_R1 is not of numbers"),
        ("train_end", "end", "has no column 'train_end', only name,train_start,end"),
        ("tiny", "toto", "names none of other_R1, other_R4, tiny_R1"),
    ],
)
def test_a_table_that_cannot_be_obeyed_is_refused(folder, old, new, message):
    table = folder / "frame_splits.csv"
    table.write_text(TABLE.replace(old, new))
    with pytest.raises(DataError, match=message):
        load(told(folder, train_split=str(table)))


def test_streamed_conformers_have_the_bits_of_resident_ones(folder):
    here, there = load(told(folder)), load(told(folder), stream=True)
    g = torch.Generator().manual_seed(0)
    for a, b in zip(parts(here), parts(there), strict=True):
        order = torch.randperm(len(a), generator=g)[:70]
        assert torch.equal(a[order].atoms(), b[order].atoms())
        assert torch.equal(a[order[:1]].atoms(), b[order[:1]].atoms())
        assert all(isinstance(t.atoms, torch.Tensor) for t in a.trajectories)
        assert all(isinstance(t.atoms.base, np.memmap) for t in b.trajectories)


def test_frames_are_centred_and_empty_slots_are_not_moved(tmp_path):
    x = frames(50).numpy()
    away = np.where(x != 0, x + np.array([40.0, -3.0, 7.0]), 0).astype(np.float32)
    np.save(saved(tmp_path, n=50, dtype=np.float32) / "tiny_R2.npy", away)
    test = load(told(tmp_path)).test
    torch.testing.assert_close(test.atoms(), torch.from_numpy(x), rtol=0, atol=1e-5)


def test_many_half_precise_frames_stay_so_in_memory(folder, monkeypatch):
    few = load(told(folder)).test[:20].atoms()
    monkeypatch.setattr(sources, "LARGE", 1)
    many = load(told(folder, frame_ps=1.0))
    assert {t.atoms.dtype for t in many.test.trajectories} == {np.dtype(np.float16)}
    assert torch.equal(many.test[:20].atoms(), few)


def test_a_config_is_read_once(folder):
    assert load(told(folder)) is load(told(folder))
    assert load(told(folder, gap=3)) is not load(told(folder))


def test_reading_takes_no_more_memory_than_a_few_frames(tmp_path):
    saved(tmp_path, n=2)
    for r in (1, 2):
        path = tmp_path / f"tiny_R{r}.npy"
        big = np.lib.format.open_memmap(path, "w+", np.float16, (60_000, len(SEQUENCE), 14, 3))
        big[:] = frames(1).numpy()
    tracemalloc.start()
    found = load(told(tmp_path), stream=True)
    found.train[torch.tensor([5, 50_000])].atoms()
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert 2 * big.nbytes > 1.4 * most, (big.nbytes, most)


def test_a_frame_of_a_huge_file_is_read_alone(tmp_path):
    x = np.lib.format.open_memmap(tmp_path / "a_R1.npy", "w+", np.float32, (4_000_000, 3, 14, 3))
    x[3_999_999] = frames(1, "AAA")[0].numpy()
    assert x.nbytes > 2e9
    tracemalloc.start()
    huge = archive.read_array(tmp_path / "a_R1.npy", protein("AAA", "a"))
    last = huge.take(torch.tensor([3_999_999]))
    assert tracemalloc.get_traced_memory()[1] < 1e6
    tracemalloc.stop()
    assert last.abs().max() > 1


def test_folders_may_be_one_for_each_protein(tmp_path):
    for name in ("a", "b"):
        saved(tmp_path / name, name)
        (tmp_path / name / "atlas.csv").rename(tmp_path / f"{name}.csv")
    (tmp_path / "atlas.csv").write_text(f"name,seqres\na,{SEQUENCE}\nb,{SEQUENCE}\n")
    assert {p.name for p in load(told(tmp_path)).train.proteins} == {"a", "b"}
    assert {p.name for p in load(told(tmp_path / "a")).train.proteins} == {"a"}


def test_numbers_and_chains_come_from_the_structure_beside(tmp_path):
    shape = protein(first=20, chains="AAABBB")
    write(Conformers.all([Trajectory(shape, frames(1))]), saved(tmp_path) / "tiny.pdb")
    assert load(told(tmp_path)).train.proteins == (shape,)
    (tmp_path / "atlas.csv").unlink()
    assert load(told(tmp_path, gap=9)).train.proteins == (shape,)
    (tmp_path / "atlas.csv").write_text("name,seqres\ntiny,AAAAAA\n")
    with pytest.raises(DataError, match=r"is AAAAAA in the table, but GAYPKW in .*tiny.pdb"):
        load(told(tmp_path, gap=8))


def test_suffixes_choose_among_files(tmp_path):
    saved(tmp_path)
    for path in tmp_path.glob("*.npy"):
        path.rename(path.with_stem(path.stem + "_latent"))
    assert len(load(told(tmp_path, suffix="_latent")).train.trajectories) == 2
    with pytest.raises(DataError, match=r"there is tiny_R1_latent\.npy: add --suffix _latent"):
        load(told(tmp_path))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"proteins": ("tinny",)}, "has no protein 'tinny'; did you mean tiny?"),
        ({"atlas_csv": "no.csv"}, "there is no file no.csv"),
        ({"suffix": "_x"}, r"has no file named NAME_R1_x.npy; .* leave --suffix out"),
        ({"pdb": "x.pdb"}, "give either --data, or --pdb with --traj"),
    ],
)
def test_what_is_not_there_is_asked_for(folder, fields, message):
    with pytest.raises(DataError, match=message):
        load(told(folder, **fields))


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("tyni,GAYPKW", "no sequence of tiny: .* did you mean tyni?"),
        ("tiny,GAYPK", r"tiny_R1.npy has 6 residues, but the sequence of tiny has 5: GAYPK"),
        ("tiny,GAYPKB", "the sequence 'GAYPKB' of tiny: 'B' is none of the twenty"),
        ("tiny,", "the sequence '' of tiny: it is empty"),
        ("tiny,GAYPKA", r"residue ALA 6 \(chain A\) has an atom in slot 5, which ALA does not"),
    ],
)
def test_sequences_that_are_not_the_arrays_are_refused(tmp_path, row, message):
    (saved(tmp_path) / "atlas.csv").write_text(f"name,seqres\n{row}\n")
    with pytest.raises(DataError, match=message):
        load(told(tmp_path))


def nan(x):
    x[130, 2, 7] = np.nan
    x[135, 3, 1] = np.inf


def no_oxygen(x):
    x[77, 4, 3] = 0


def cut(x):
    x[:, 3:] = np.where(x[:, 3:] != 0, x[:, 3:] + 9, 0)


def periodic(x):
    x[150, 4:] = np.where(x[150, 4:] != 0, x[150, 4:] + 30, 0)


def nanometres(x):
    x *= 0.1


def tenfold(x):
    x *= 10


def oxygen_last(x):
    x[:, 1:, [3, 4]] = x[:, 1:, [4, 3]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (nan, r"residue TYR 3 \(chain A\) is at NaN or infinity, in frame 130"),
        (no_oxygen, r"residue LYS 5 \(chain A\) lacks the backbone atom O, in frame 77"),
        (cut, r"TYR 3 \(chain A\) and PRO 4 .* are apart .* in frame 0: the chain is broken"),
        (periodic, r"PRO 4 \(chain A\) and LYS 5 .* frame 150: has a periodic box cut the mol"),
        (nanometres, r"are angstrom, but these seem to be nanometres: multiply them by 10 \(CA"),
        (tenfold, "are angstrom, but these seem to be a tenth of that"),
        (oxygen_last, r"C to O is 2\.5.* A instead of 1.23 A: the slots of a residue begin"),
    ],
)
@pytest.mark.parametrize("chunk", [2**21, 5000])
@pytest.mark.parametrize("stream", [False, True])
def test_frames_that_are_not_fit_are_refused(
    tmp_path, change, message, chunk, stream, monkeypatch
):
    monkeypatch.setattr("genmatter.domains.backbone.checks.CHUNK", chunk)
    saved(tmp_path, n=200)
    x = frames(200).numpy()
    change(x)
    np.save(tmp_path / "tiny_R2.npy", x)
    with pytest.raises(DataError, match=message) as refusal:
        load(told(tmp_path), stream=stream)
    assert "tiny_R2.npy" in str(refusal.value)


def test_halves_far_from_the_origin_are_refused(tmp_path):
    x = frames(50).numpy()
    far = np.where(x != 0, x + 600, 0)
    for dtype in (np.float32, np.float16):
        np.save(saved(tmp_path, n=50) / "tiny_R2.npy", far.astype(dtype))
        if dtype == np.float32:
            load(told(tmp_path, gap=1))
    with pytest.raises(
        DataError, match=r"GLY 1 .* more than 500 A from the origin, where 16 bits"
    ):
        load(told(tmp_path, gap=2))


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((0, 6, 14, 3), np.float32), "holds no frame"),
        (np.zeros((9, 6, 37, 3), np.float32), "atom37 arrays have to be written as atom14"),
        (
            np.zeros((9, 14, 3), np.float32),
            r"the shape \[9, 14, 3\], but trajectories are \[frame",
        ),
        (np.zeros((9, 6, 14, 3), np.int32), "holds int32, but positions are real numbers"),
        (np.zeros((9, 7, 14, 3), np.float32), "has 7 residues, but the sequence of tiny has 6"),
    ],
)
def test_arrays_of_something_else_are_refused(tmp_path, array, message):
    np.save(saved(tmp_path) / "tiny_R2.npy", array)
    with pytest.raises(DataError, match=message) as refusal:
        load(told(tmp_path))
    assert "tiny_R2.npy" in str(refusal.value)


@pytest.mark.parametrize("content", [b"", b"the quick brown fox", None])
def test_damaged_arrays_are_refused(tmp_path, content):
    path = saved(tmp_path) / "tiny_R2.npy"
    path.write_bytes(path.read_bytes()[:5000] if content is None else content)
    with pytest.raises(DataError, match=r"tiny_R2.npy cannot be read"):
        load(told(tmp_path))


def test_numbers_that_leave_residues_out_are_refused(tmp_path):
    gap = replace(protein(chains="AAABBB"), numbers=(1, 2, 3, 4, 6, 7))
    write(Conformers.all([Trajectory(gap, frames(60))]), tmp_path / "x.pdb")
    with pytest.raises(DataError, match=r"LYS 6 \(chain B\) follows PRO 4 \(chain B\)") as refusal:
        load(told(tmp_path / "x.pdb"))
    assert "x.pdb: the chain is broken" in str(refusal.value)


def test_chains_of_their_own_may_be_apart(tmp_path):
    x = frames(90).numpy()
    cut(x)
    apart = Trajectory(protein(chains="AAABBB"), torch.from_numpy(x))
    write(Conformers.all([apart]), tmp_path / "x.cif")
    assert len(load(told(tmp_path / "x.cif")).train.proteins) == 1


def test_models_of_a_structure_are_frames(tmp_path):
    x = Conformers.all([Trajectory(protein(), frames(100))])
    write(x, tmp_path / "x.pdb")
    splits = load(told(tmp_path / "x.pdb", gap=2))
    assert sum(map(len, parts(splits))) == 100 - 2 * 2
    assert torch.equal(splits.test.atoms(), load(told(tmp_path / "x.pdb", gap=2)).test.atoms())
    (tmp_path / "each").mkdir()
    for k in range(60):
        write(x[torch.tensor([k])], tmp_path / "each" / f"f{k:03}.pdb")
    (together,) = trajectories(told(tmp_path / "each"))
    assert (len(together), together.protein.name) == (60, "each")
    assert torch.allclose(together.atoms, x[:60].atoms(), atol=1e-3)


def test_structures_of_a_folder_are_replicas(tmp_path):
    for r in (1, 2):
        x = frames(40, seed=r)
        write(Conformers.all([Trajectory(protein(), x)]), tmp_path / f"tiny_R{r}.pdb")
    assert {r for _, r, _ in rows(load(told(tmp_path)).test)} == {2}


def test_a_simulation_is_asked_for_where_nothing_is_given(monkeypatch):
    asked = []

    def simulation(peptide, seed):
        asked.append((peptide, seed))
        return [Trajectory(protein(), frames(60, seed=r), r) for r in (1, 2)]

    for name, function in (("simulate", "simulate"), ("torsions", "torsions")):
        module = ModuleType(name)
        setattr(module, function, simulation)
        monkeypatch.setitem(sys.modules, f"genmatter.domains.backbone.{name}", module)
        config = BackboneDataConfig(peptide=PeptideConfig(simulator=_kind(name)), data_seed=7)
        assert len(load(config).test) == 60
    assert [(p.simulator, s) for p, s in asked] == [("openmm", 7), ("torsions", 7)]


def _kind(name):
    return "openmm" if name == "simulate" else "torsions"


def test_whatever_is_read_can_be_written_as_arrays(folder, tmp_path):
    config = told(folder, frame_ps=2.0, frame_interval=2)
    places = convert(config, tmp_path / "out")
    assert sorted(p.name for p in places) == [
        "other_R1.npy", "other_R4.npy", "tiny_R1.npy", "tiny_R2.npy", "tiny_R3.npy",
    ]  # fmt: skip
    again = load(told(tmp_path / "out"))
    torch.testing.assert_close(again.test.atoms(), load(config).test.atoms(), rtol=0, atol=1e-5)
    assert {t.frame_ps for t in again.test.trajectories} == {4.0}
    table = tmp_path / "out" / "frame_splits.csv"
    obeyed = load(told(tmp_path / "out", train_split=str(table)))
    assert rows(obeyed.test) == rows(again.test)
    assert len(obeyed.valid) == len(again.valid)
    with table.open() as file:
        first = next(csv.DictReader(file))
    assert first == {
        "name": "other_R1", "train_start": "", "train_end": "45", "total_frames": "50",
        "train_early_end": "2", "val_end": "50",
    }  # fmt: skip


def test_the_memory_of_a_series_is_that_of_its_law():
    g = torch.Generator().manual_seed(0)
    noise, a = torch.randn(40_000, generator=g).tolist(), 0.9
    x = [0.0]
    for e in noise:
        x.append(a * x[-1] + e)
    assert memory(torch.tensor(x)) == pytest.approx(0.5 * (1 + a) / (1 - a), rel=0.1)
    assert memory(torch.tensor(noise)) == pytest.approx(0.5, abs=0.05)
    assert memory(torch.ones(50)) == 0.5


def test_what_a_split_leaks_is_found(tmp_path):
    walk = frames(2, wander=0.0)[0].repeat(400, 1, 1, 1)
    scale = 1 + 0.2 * torch.sin(torch.arange(400) / 20)[:, None, None, None]
    found = (Trajectory(protein(), walk * scale, frame_ps=0.5),)
    even, odd = torch.arange(0, 400, 2), torch.arange(1, 400, 2)
    leaky = Splits(*(Conformers.some(found, [f]) for f in (even, odd[:50], odd)))
    (told_,) = correlation(leaky)
    assert (told_.protein, told_.unit, told_.leak) == ("tiny", "ps", 1.0)
    halves = Splits(*(Conformers.some(found, [torch.arange(a, a + 100)]) for a in (0, 100, 300)))
    (told_,) = correlation(halves)
    assert told_.leak == 0.0
    untimed = (replace(found[0], frame_ps=0.0),)
    (same,) = correlation(Splits(*(Conformers(untimed, x.where) for x in parts(halves))))
    assert same.unit == "frames"
    assert same.time == pytest.approx(2 * told_.time)


def test_what_was_left_out_is_told_once(tmp_path):
    t = Trajectory(protein(), frames(4), notes=("left out: 3 water",))
    x = Conformers.all([t, t])
    assert notes(Splits(x, x, x)) == ["tiny: left out: 3 water"]


def test_real_data_are_read(real_data):
    source = real_data / "backbone"
    splits = load(told(source), stream=True)
    assert [len(x) for x in parts(splits)] == [3305, 370, 2352]
    assert {p.name: p.numbers[0] for p in splits.train.proteins} == {
        "AAAAA_400K": 2, "CLN025_300K": 1,
    }  # fmt: skip
    obeyed = load(told(source, train_split=str(source / "frame_splits.csv")))
    expected = [(846, 777, 823, 672, 634), (260, 238, 253, 206, 194)]
    counts = [x.where[:, 0].bincount().tolist() for x in parts(obeyed)]
    assert [tuple(c) for c in counts[:2]] == expected
    assert sum(counts[2]) == 6057 - sum(map(sum, expected))
    assert obeyed.train.alphas().isfinite().all()
