import csv
import gzip
import re
from collections import Counter
from xml.etree import ElementTree

import pytest
import torch
from rdkit import Chem

from genmatter.domains.molecule import figures, sketch
from genmatter.domains.molecule.molecules import Molecules, canonical
from genmatter.errors import DataError
from genmatter.reporting.page import Html, Page, Section, render
from genmatter.reporting.style import INKS

EVIL = "<script>alert('x')</script>\"&"
DRUGS = [
    "CC(=O)Oc1ccccc1C(=O)O", "Cn1cnc2c1c(=O)n(C)c(=O)n2C", "CN(C)CCCN1c2ccccc2CCc2ccccc21",
    "CC(C)Cc1ccc(cc1)C(C)C(=O)O", "FC(F)(F)c1ccc(OC(CCNC)c2ccccc2)cc1", "CS(=O)(=O)c1ccccc1Cl",
    "C[C@H](N)[C@@H](O)c1ccccc1", "[13CH3][NH+](C)CC#N", "CCOP(=O)(OC)SCC", "C/C=C/C[O]",
]  # fmt: skip


def molecules(smiles=DRUGS):
    return Molecules.of([canonical(s) for s in smiles])


def tiles(html):
    """The tiles of a row, and a failure where tags do not nest."""
    return ElementTree.fromstring(f"<div>{html}</div>").findall("ul/li")


def strokes(svg):
    """All points of each part of each path, by the path's class."""
    found = {}
    for path in ElementTree.fromstring(svg).findall("path"):
        parts = []
        for letter, rest in re.findall(r"([Mlqz])([^Mlqz]*)", path.get("d")):
            numbers = [int(v) for v in re.findall(r"-?\d+", rest)]
            pairs = list(zip(numbers[::2], numbers[1::2], strict=True))
            if letter == "M":
                parts.append(pairs)
                continue
            each = 2 if letter == "q" else 1
            for i in range(0, len(pairs), each):
                x, y = parts[-1][-1]
                parts[-1] += [(x + u, y + v) for u, v in pairs[i : i + each]]
        found[path.get("class")] = parts
    return found


@pytest.mark.parametrize("smiles", DRUGS)
def test_no_atom_and_no_bond_of_rdkits_drawing_is_lost(smiles):
    mol = Chem.MolFromSmiles(smiles)
    drawn = sketch._drawn(mol)
    named = re.findall(r"<path class='([^']*)' d='([^']*)'", drawn)
    bonds = {int(b) for name, _ in named for b in re.findall(r"bond-(\d+)", name)}
    assert bonds == set(range(mol.GetNumBonds()))
    theirs = Counter(
        (round(10 * float(x)), round(10 * float(y)))
        for _, way in named
        for x, y in re.findall(r"([\d.]+)[ ,]([\d.]+)", way)
    )
    ours = strokes(sketch.drawing(smiles)).values()
    assert Counter(point for parts in ours for part in parts for point in part) == theirs


@pytest.mark.parametrize("smiles", ["CCC", "C1CCC2CCCCC2C1", "CC(C)(C)C1CC1", "C1CC2CCC1C2"])
def test_the_strokes_of_a_skeleton_are_its_graph(smiles):
    (parts,) = strokes(sketch.drawing(smiles)).values()
    atoms = {}
    mol = Chem.RWMol()
    for part in parts:
        a, b = (atoms.setdefault(p, len(atoms)) for p in (part[0], part[-1]))
        while mol.GetNumAtoms() < len(atoms):
            mol.AddAtom(Chem.Atom(6))
        mol.AddBond(a, b, Chem.BondType.SINGLE)
    assert Chem.MolToSmiles(mol) == Chem.CanonSmiles(smiles)


@pytest.mark.parametrize(
    ("smiles", "contours"),
    [("FC(F)(F)C", {"x f": 3}), ("ClCCl", {"x f": 4}), ("COC", {"o f": 2}), ("CN(C)C", {"n f": 1}),
     ("OCCS", {"o f": 3, "s f": 2}), ("CP(C)C", {"p f": 2}), ("CBr", {"x f": 4})],
)  # fmt: skip
def test_labels_are_written_in_the_ink_of_their_element(smiles, contours):
    found = strokes(sketch.drawing(smiles))
    assert {k: len(v) for k, v in found.items() if k.endswith("f")} == contours


def test_every_class_of_a_path_has_an_ink_that_the_page_knows():
    used = {k.split()[0] for s in DRUGS for k in strokes(sketch.drawing(s))}
    known = re.findall(r"\.molecule \.(\w) { color: var\(--([\w-]+), (#\w+)\)", sketch.style())
    assert used == {kind for kind, _, _ in known} == {*sketch._INKS}
    for kind, name, light in known:
        assert name == sketch._INKS[kind]
        assert light == INKS[name].light


def test_drawings_fit_their_frame_and_bonds_have_one_length():
    def bond(smiles):
        (a, b), *_ = strokes(sketch.drawing(smiles))["c"]
        return ((a[0] - b[0]) ** 2 + (a[1] - b[1]) ** 2) ** 0.5

    assert bond("CC") == pytest.approx(bond("CCCCCC"), abs=3)
    assert bond("C" * 60) < bond("CC") / 3
    for smiles in [*DRUGS, "C" * 100]:
        points = [p for v in strokes(sketch.drawing(smiles)).values() for part in v for p in part]
        assert all(0 <= x <= 1800 and 0 <= y <= 1300 for x, y in points)


def test_titles_are_text_nothing_has_an_id_and_many_rows_live_on_one_page():
    html = figures.strip(molecules()[:2], [EVIL, "α"])
    assert [t.find("span").text for t in tiles(html)] == [EVIL, "α"]
    assert "<script" not in html
    page = render(Page("two", "", [Section("a", [Html(html), Html(html)])]))
    ids = re.findall(r'\bid="([^"]*)"', page)
    assert len(ids) == len(set(ids))
    assert not re.search(r"\bid=|url\(|href|<!--|rdkit", html)


def test_each_molecule_says_its_smiles_and_what_is_none_says_so():
    mols = molecules(["CCO", "", "c1ccccc1"])
    first, none, last = tiles(figures.strip(mols, ["a", "b", "c"]))
    assert [t.find("svg/title").text for t in (first, last)] == ["CCO", "c1ccccc1"]
    assert none.find("svg") is None
    assert none.find("div").text == "no molecule"
    broken = Molecules.of(["C1CC"])  # nobody should write it, and nobody should stumble over it
    assert tiles(figures.strip(broken, ["x"]))[0].find("div").text == "no molecule"


def test_a_long_row_is_cut_and_says_by_how_much():
    drawn = tiles(figures.strip(molecules(["CCO"] * 130), ["x"] * 130))
    assert len(drawn) == 101
    assert drawn[-1].find("span").text == "and 30 more"
    assert len(tiles(figures.strip(molecules(["CCO"] * 100), ["x"] * 100))) == 100
    assert tiles(figures.strip(molecules([]), [])) == []
    with pytest.raises(DataError, match="2 molecules need as many titles; given: 1"):
        figures.strip(molecules(["C", "C"]), ["a"])


def test_a_row_is_small():
    assert len(figures.strip(molecules(), [""] * len(DRUGS))) < 2_000 * len(DRUGS)


def test_a_grid_tells_properties_and_a_dash_where_there_is_none():
    values = {"tpsa": torch.tensor([20.23, torch.nan]), EVIL: torch.tensor([1.0, 2.0])}
    drawn = tiles(figures.grid(molecules(["CCO", ""]), values, {"tpsa": "Å²"}))
    assert [t.find("span").text for t in drawn] == [
        f"tpsa 20.2 Å², {EVIL} 1.00", f"tpsa –, {EVIL} 2.00"
    ]  # fmt: skip
    assert len(tiles(figures.grid(molecules(["CCO"]), {}))) == 1


def test_histograms_mark_what_was_wanted_and_only_there():
    known = {k: torch.randn(200) for k in ("tpsa", "logp")}
    drawn = figures.histograms(known, known, {"logp": 7.0}, {"tpsa": "Å²"})
    tpsa, logp = drawn.axes
    assert tpsa.get_title(loc="left") == "tpsa (Å²)"
    assert not tpsa.lines
    assert [line.get_xdata()[0] for line in logp.lines] == [7.0]
    assert logp.get_xlim()[1] > 7
    assert "wanted" in [t.get_text() for t in drawn.legends[0].get_texts()]
    without = figures.histograms(known, known)
    assert "wanted" not in [t.get_text() for t in without.legends[0].get_texts()]


def test_a_map_has_a_drawing_of_each_molecule_and_not_too_many(monkeypatch):
    mols = molecules()
    n = len(mols)
    html = figures.hover_map(torch.randn(n, 2), mols, {EVIL: torch.arange(float(n))})
    assert html.count("<circle cx") == n
    assert EVIL not in html
    assert sketch.style() in html
    monkeypatch.setattr(figures, "_POINTS", 4)
    assert (
        figures.hover_map(torch.randn(n, 2), mols, {"x": torch.ones(n)}).count("<circle cx") == 4
    )
    with pytest.raises(DataError, match="3 points need as many molecules; given: 10"):
        figures.hover_map(torch.randn(3, 2), mols, {"x": torch.ones(3)})
    with pytest.raises(DataError, match="0 of 0 points"):
        figures.hover_map(torch.zeros(0, 2), molecules([]), {"x": torch.zeros(0)})


def test_real_molecules_are_drawn_and_a_map_of_them_is_bounded(real_data):
    with gzip.open(real_data / "molecules" / "chembl_cns_like_train.csv.gz", "rt") as file:
        rows = [row for row, _ in zip(csv.DictReader(file), range(300), strict=False)]
    mols = molecules([row["smiles"] for row in rows])
    html = figures.hover_map(
        torch.randn(300, 2), mols, {"tpsa": torch.tensor([float(row["tpsa"]) for row in rows])}
    )
    assert len(html) < 300 * 900
    assert all("<path" in sketch.drawing(s) for s in mols.smiles)
