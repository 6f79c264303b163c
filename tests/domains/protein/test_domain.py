import csv
from dataclasses import replace

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from genmatter.domains.protein import baselines
from genmatter.domains.protein.config import ProteinVAEConfig
from genmatter.domains.protein.domain import DOMAIN
from genmatter.domains.protein.family import simulated
from genmatter.domains.protein.represent import AlignedSites
from genmatter.domains.protein.sequences import Numbering, Sequences
from genmatter.errors import DataError

TINY = ProteinVAEConfig.presets["tiny"]
LAW = simulated(24, 0)


def domain(**data):
    return DOMAIN(replace(TINY, data=replace(TINY.data, **data)))


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A family with a focus sequence of 26 residues, two of them in no column, and a table."""
    home = tmp_path_factory.mktemp("data")
    texts = Sequences.of(LAW.sample(80, "file")[0]).texts
    rows = {f"s{k}": t[:5] + ".." + t[5:] for k, t in enumerate(texts)}
    rows = {"F/11-36": texts[0][:5] + "gg" + texts[0][5:], **rows, "copy": rows["s1"]}
    (home / "x.a2m").write_text("".join(f">{k}\n{v}\n" for k, v in rows.items()))
    table = "".join(f"s{k},{k / 2},{'ab'[k % 2]}\n" for k in range(80))
    (home / "x.csv").write_text("name,pH,kind\n" + table)
    return {"source": str(home / "x.a2m"), "labels": str(home / "x.csv"), "focus": "F"}


def test_an_object_is_typed_as_its_name_or_its_residues(source):
    it = domain(**source)
    wild = it.load().train.numbering.wild_type
    whole = it.load().train.numbering.sequence
    for text in ("F", "F/11-36", wild, whole):
        found = it.parse(text)
        assert found.texts == [wild]
        assert found.numbering.positions == (*range(11, 16), *range(18, 37))
    assert it.parse("s7").names.tolist() == ["s7"]
    assert it.parse("s7").columns["pH"].tolist() == [3.5]
    for text in ("", "nobody", "M", "MKV1"):
        assert it.parse(text) is None
    assert it.parse("MKVL").numbering == Numbering.plain(4)
    assert domain().parse("1") is None
    assert domain(**source | {"source": "gone.a2m"}).parse("MKVL").texts == ["MKVL"]
    assert domain(**source | {"source": "gone.a2m"}).parse("s1") is None


def test_files_are_read_in_the_columns_of_the_data(source, tmp_path):
    it = domain(**source)
    train = it.load().train
    path = tmp_path / "x.fasta"
    it.write(train[:3], path)
    again = it.read(path)
    assert torch.equal(again.residues, train.residues[:3])
    assert again.numbering.positions == train.numbering.positions
    torch.testing.assert_close(again.columns["pH"], train.columns["pH"][:3], equal_nan=True)
    assert again.labels["kind"].tolist() == train.labels["kind"][:3].tolist()
    assert it.score(again, it.load())["novelty"].value == 0


def test_a_whole_alignment_is_cut_to_the_columns_of_a_model(tmp_path):
    texts = Sequences.of(LAW.sample(60, "wide")[0]).texts
    path = tmp_path / "x.fasta"
    path.write_text("".join(f">s{k}\n{t[:9]}-{t[9:]}\n" for k, t in enumerate(texts)))
    it = domain(source=str(path))
    splits = it.load()
    whole = it.read(path)
    assert (whole.sites, splits.train.sites) == (25, 24)
    assert it.score(whole, splits)["site_r"].value > 0.9
    written = AlignedSites.fit(splits.train, TINY).encode(whole)
    assert torch.equal(written.tokens, whole.residues[:, [*range(9), *range(10, 25)]])


def test_observables_are_listed_with_the_table_and_without_it(source):
    names = [o.name for o in domain(**source).observables]
    assert names[-2:] == ["identity_to_focus", "pH"]
    assert names[0] == "hydropathy"
    assert [o.name for o in domain().observables][-1] == "residues"
    gone = domain(**source | {"source": "gone.a2m"}, columns=("pH",))
    assert [o.name for o in gone.observables][-1] == "pH"


def test_what_is_left_out_is_kept_on_record(source, tmp_path):
    domain(**source).record(tmp_path)
    with (tmp_path / "dropped.csv").open() as lines:
        names = [row["name"] for row in csv.DictReader(lines)]
    assert names == ["s0", "copy"]
    (tmp_path / "dropped.csv").unlink()
    domain().record(tmp_path)
    assert not [*tmp_path.iterdir()]


def test_similarity_is_of_columns_where_either_has_a_residue():
    x = torch.tensor([[1, 2, 3, 0], [1, 2, 0, 0], [0, 0, 0, 0]], dtype=torch.int8)
    s = Sequences.of(x)
    assert domain().similarity(s, s[:1]).tolist() == pytest.approx([1, 2 / 3, 0])
    assert domain().similarity(s, s[2:]).tolist() == [0, 0, 0]
    assert domain().identities(s) == ["ACD-", "AC--", "----"]


def test_doubts_are_lacking_residues_and_gaps(source):
    it = domain(**source, motif=("F11",))
    wild = it.load().train.numbering.wild_type
    it = domain(**source, motif=(f"{wild[0]}11", f"{wild[7]}20"))
    train = it.load().train
    x = it.parse("F").residues.repeat(3, 1)
    x[1, 7] = x[1, 7] % 20 + 1
    x[2, 8:] = 0
    found = it.doubts(Sequences.of(x, train.numbering), train)
    assert found == ["", f"lacks {wild[7]}20 of the motif", "mostly gaps"]
    assert it.faults(Sequences.of(x)) == ["", "", ""]


def test_scores_are_of_the_test_split_and_of_the_law(source):
    it = domain()
    splits = it.load()
    found = it.score(splits.valid, splits)
    assert {"pair_slope", "motif", "law_nats", "contact_r", "subfamilies"} <= found.keys()
    plain = domain(**source)
    other = plain.score(plain.load().valid, plain.load())
    assert "law_nats" not in other
    assert "motif" not in other
    assert all(np.isfinite(s.value) for s in (found | other).values())
    table = {"samples": splits.valid, **it.baselines(splits.train, 40)}
    assert table.keys() == {"samples", "site frequencies", "Potts model"}
    assert all(it.score(x, splits).keys() <= found.keys() for x in table.values())
    assert it.match(splits.test, splits.test)["exact"].value == 1


def test_the_page_has_pictures_and_a_map(source):
    for it in (domain(), domain(**source)):
        splits = it.load()
        found = it.pictures(splits.valid, splits)
        assert len(found) == 4
        assert all(isinstance(f, Figure) for f in found.values())
        values = {o.name: o.of(splits.test) for o in it.observables}
        shown = it.map(splits.test, torch.randn(len(splits.test), 2), values)
        assert ("kind: 1 a, 2 b" in shown) == bool(it.config.data.source)
        circled = any("true contacts" in caption for caption in found)
        assert circled == (not it.config.data.source)


def test_a_reader_is_told_what_the_data_are(source):
    facts = domain().facts(domain().load())
    assert facts["entropy of the law"].endswith("nats per residue")
    assert facts["motif"] == " ".join(LAW.motif)
    it = domain(**source)
    told = it.facts(it.load())
    assert told["focus"] == "F/11-36, columns 11-15,18-36"
    assert "motif" not in told
    assert domain().cautions(domain().load()) == []


def test_leaks_and_little_data_are_warned_of(tmp_path):
    x = LAW.sample(40, "few")[0].repeat_interleave(3, 0)
    x[1::3, 0], x[2::3, 3] = 1, 2
    texts = dict.fromkeys(Sequences.of(x).texts)
    path = tmp_path / "x.fasta"
    path.write_text("".join(f">s{k}\n{t}\n" for k, t in enumerate(texts)))
    leaky = domain(source=str(path), split="random")
    found = leaky.cautions(leaky.load())
    assert "of the test sequences" in found[0]
    assert "--split cluster" in found[0]
    honest = leaky.honest()
    assert honest.data.split == "cluster"
    clean = DOMAIN(replace(honest, data=replace(honest.data, cluster_identity=0.75)))
    assert not any("of the test sequences" in text for text in clean.cautions(clean.load()))
    assert clean.honest() is None
    assert domain().honest() is None
    short = domain(source=str(path), split="random", identity=0.3)
    assert any("effective training sequences" in t for t in short.cautions(short.load()))


def test_wide_alignments_have_no_potts_model(monkeypatch):
    monkeypatch.setattr(baselines, "LONGEST", 10)
    train = domain().load().train
    assert [*domain().baselines(train, 5)] == ["site frequencies"]


def test_absent_files_are_refused():
    with pytest.raises(DataError, match="there is no file"):
        domain(source="gone.a2m").load()
