"""A conformer as tensors: a rigid body of each residue, and psi."""

__all__ = ["BackboneFrames", "ideal"]

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from genmatter.domains.backbone.conformers import Conformers, Protein, Trajectory, centred
from genmatter.domains.backbone.motifs import motif, residues_named
from genmatter.errors import ConfigError, RepresentationError
from genmatter.generative.bodies import FrameBatch
from genmatter.maths import residues
from genmatter.maths.atoms import atom14_to_frames, backbone, dihedral
from genmatter.maths.rigid import Rigid
from genmatter.maths.superpose import rotation_onto
from genmatter.spine import Representation

_JUMP = 200
"""Places along the chains that lie between the last residue of one and the first of the next."""
_SCALED = 2000
"""Conformers of each protein that the unit of length is taken from."""


@dataclass(frozen=True)
class BackboneFrames(Representation[Conformers, FrameBatch]):
    """Frames put up by N, CA and C, centred on CA and turned to the protein's reference.

    What is lost is how far a residue is from ideal geometry. `coord_scale` is one over the
    standard deviation of CA coordinates in the training split, the networks' unit. Of each protein
    in it the name, residues and one conformer are kept, [residues, 5, 3] in a row.
    """

    coord_scale: float
    names: tuple[str, ...]
    sequences: tuple[str, ...]
    numbers: tuple[tuple[int, ...], ...]
    chains: tuple[tuple[str, ...], ...]
    references: tuple[tuple[float, ...], ...]

    @classmethod
    def fit(cls, objects: Conformers, config: Any) -> "BackboneFrames":
        del config
        total, count, first = 0.0, 0, []
        for protein in objects.proteins:
            those = objects.of(protein)
            n = min(len(those), _SCALED)
            x = those[torch.arange(n) * len(those) // n].alphas().double()
            total += (x - x.mean(1, keepdim=True)).square().sum().item()
            count += x.numel()
            one = centred(those[:1].atoms())[0, :, :5].double()
            first.append(tuple(one.round(decimals=4).flatten().tolist()))
        known = objects.proteins
        return cls(
            (count / total) ** 0.5, tuple(p.name for p in known), tuple(p.sequence for p in known),
            tuple(p.numbers for p in known), tuple(p.chains for p in known), tuple(first),
        )  # fmt: skip

    @property
    def proteins(self) -> tuple[Protein, ...]:
        """Those of the training split."""
        parts = zip(self.names, self.sequences, self.numbers, self.chains, strict=True)
        return tuple(Protein(*p) for p in parts)

    def reference(self, index: int) -> Float[Tensor, "L 5 3"]:
        """Returns the kept conformer of a protein."""
        return torch.tensor(self.references[index]).view(-1, 5, 3)

    def sizes(self, objects: Conformers) -> Tensor:
        return objects.lengths

    def encode(self, objects: Conformers) -> FrameBatch:
        """Writes conformers as frames.

        Raises:
            RepresentationError: There are none.
        """
        if not len(objects):
            raise RepresentationError("there are no conformers to encode")
        parts, rows = [], []
        for k in objects.where[:, 0].unique().tolist():
            here = (objects.where[:, 0] == k).nonzero()[:, 0]
            parts.append(self._encoded(objects[here].atoms(), objects.trajectories[k].protein))
            rows.append(here)
        return FrameBatch.cat(parts)[torch.cat(rows).argsort()]

    def _encoded(self, atoms: Float[Tensor, "n L 14 3"], protein: Protein) -> FrameBatch:
        index = self._index(protein)
        ca = atoms[:, :, 1]
        x = atoms - ca.mean(1)[:, None, None]
        if index >= 0:
            turn = rotation_onto(ca.double(), self.reference(index)[:, 1].double().expand_as(ca))
            x = torch.einsum("nlpi,nij->nlpj", x, turn.to(x))
        n, rigid = len(x), atom14_to_frames(x)
        return self._blank(protein, n, index).replace(
            rots=rigid.rots.contiguous(), trans=rigid.trans.contiguous(), psi=_psi(x)
        )

    def _index(self, protein: Protein) -> int:
        """Returns the known protein, or one of the same residues under another name, or -1."""
        if protein in self.proteins:
            return self.proteins.index(protein)
        return self.sequences.index(protein.sequence) if protein.sequence in self.sequences else -1

    def _blank(self, protein: Protein, n: int, index: int) -> FrameBatch:
        """Returns rows in which only the residues are known."""
        size = len(protein)
        letters = list(dict.fromkeys(protein.chains))
        chain = torch.tensor([letters.index(c) for c in protein.chains])
        where = torch.arange(1, size + 1) + _JUMP * chain
        of = lambda x: x.expand(n, size).contiguous()
        unknown = torch.full((n, size, 3), torch.nan)
        return FrameBatch(
            rots=torch.full((n, size, 3, 3), torch.nan), trans=unknown, psi=unknown[..., :2],
            aatype=of(residues.aatype(protein.sequence)), seq_idx=of(where),
            residue_index=of(torch.tensor(protein.numbers)), chain_idx=of(chain),
            mask=torch.ones(n, size, dtype=torch.bool),
            fixed=torch.zeros(n, size, dtype=torch.bool), protein=torch.full((n,), index),
        )  # fmt: skip

    def decode(self, batch: FrameBatch) -> Conformers:
        """Places N, CA, C, O and CB, turned to the reference where nothing was held fixed."""
        sets, rows = [], []
        for protein, here in self._groups(batch):
            part = batch[here]
            x = backbone(Rigid(part.rots, part.trans), part.psi, part.aatype)
            x = self._turned(x, part)
            atoms = torch.nn.functional.pad(x, (0, 0, 0, 14 - x.shape[2]))
            sets.append(Conformers.all([Trajectory(protein, atoms, complete=False)]))
            rows.append(here)
        if not sets:
            return Conformers((), torch.zeros(0, 2, dtype=torch.long))
        return Conformers.cat(sets)[torch.cat(rows).cpu().argsort()]

    def _turned(self, x: Float[Tensor, "n L 5 3"], part: FrameBatch) -> Tensor:
        """Superposes rows on their protein's reference; absent atoms stay zeros.

        Rows stay as they are where something is held fixed, and where they are no numbers.
        """
        index = int(part.protein[0])
        if index < 0:
            return x
        still = part.fixed.any(1) | ~x.isfinite().flatten(1).all(1)
        ca = x[:, :, 1].detach()
        target = self.reference(index)[:, 1].to(ca).expand_as(ca)
        turn = rotation_onto(torch.where(still[:, None, None], target, ca), target)
        moved = torch.einsum("nlpi,nij->nlpj", x - ca.mean(1)[:, None, None], turn)
        moved = torch.where((x == 0).all(-1, keepdim=True), x, moved)
        return torch.where(still[:, None, None, None], x, moved)

    def _groups(self, batch: FrameBatch) -> list[tuple[Protein, Tensor]]:
        """Returns the rows of each protein."""
        found: dict[Protein, list[int]] = {}
        known = self.proteins
        for row, index in enumerate(batch.protein.tolist()):
            found.setdefault(known[index] if index >= 0 else _read(batch, row), []).append(row)
        return [(p, torch.tensor(rows, device=batch.trans.device)) for p, rows in found.items()]

    def prompt(self, n: int, config: Any) -> FrameBatch:
        """Returns rows of the proteins that are asked for, in turn, with the motif in its place.

        Raises:
            ConfigError: There is no such protein, or the motif is none of its residues.
        """
        told = config.sampling
        if told.new_sequence:
            wanted: Sequence[tuple[int, Protein]] = [(-1, _new(told.new_sequence))]
        else:
            wanted = [(k, p) for k, p in enumerate(self.proteins) if told.protein in ("", p.name)]
        if not wanted:
            raise ConfigError(
                f"the model knows no protein {told.protein!r}; it knows {', '.join(self.names)}"
            )
        parts = [self._blank(p, -(-n // len(wanted)), k) for k, p in wanted]
        if not (config.diffuse_rot and config.diffuse_trans):
            parts = [
                self._known(part, k, config) for part, (k, _) in zip(parts, wanted, strict=True)
            ]
        if told.motif:
            if len(wanted) > 1:
                raise ConfigError("a motif needs --protein, one of " + ", ".join(self.names))
            index, protein = wanted[0]
            given = motif(told.motif_from, protein, self.reference(index) if index >= 0 else None)
            parts = [self._held(parts[0], given, residues_named(told.motif, protein))]
        whole = FrameBatch.cat(parts)
        turns = torch.arange(len(whole)).view(len(parts), -1).T.flatten()
        return whole[turns][:n]

    def _known(self, blank: FrameBatch, index: int, config: Any) -> FrameBatch:
        """Puts in what is not diffused, from the kept conformer."""
        if index < 0:
            raise ConfigError("a new sequence needs --diffuse_rot and --diffuse_trans")
        r = atom14_to_frames(self.reference(index))
        rots = blank.rots if config.diffuse_rot else r.rots.expand_as(blank.rots)
        trans = blank.trans if config.diffuse_trans else r.trans.expand_as(blank.trans)
        return blank.replace(rots=rots.contiguous(), trans=trans.contiguous())

    def _held(self, blank: FrameBatch, x: Float[Tensor, "L 5 3"], those: Tensor) -> FrameBatch:
        """Puts a motif into its place."""
        x = x.expand(len(blank), *x.shape)
        r = atom14_to_frames(x)
        told = those.expand(len(blank), -1)
        return blank.replace(
            rots=torch.where(told[..., None, None], r.rots, blank.rots),
            trans=torch.where(told[..., None], r.trans, blank.trans),
            psi=torch.where(told[..., None], _psi(x), blank.psi),
            fixed=told.contiguous(),
        )


def ideal(objects: Conformers) -> Conformers:
    """Returns conformers as they are after `encode` and `decode`: of ideal residues.

    The floor of every model of frames: bonds between residues are wider than before.
    """
    sets, rows = [], []
    for k in objects.where[:, 0].unique().tolist():
        here = (objects.where[:, 0] == k).nonzero()[:, 0]
        x, protein = objects[here].atoms(), objects.trajectories[k].protein
        types = residues.aatype(protein.sequence).expand(x.shape[:2])
        made = backbone(atom14_to_frames(x), _psi(x), types)
        atoms = torch.nn.functional.pad(made, (0, 0, 0, 9))
        sets.append(Conformers.all([Trajectory(protein, atoms, complete=False)]))
        rows.append(here)
    return Conformers.cat(sets)[torch.cat(rows).argsort()]


def _psi(x: Float[Tensor, "n L atoms 3"]) -> Float[Tensor, "n L 2"]:
    """Returns sine and cosine of psi: O is across from the next N."""
    angle = dihedral(x[..., 0, :], x[..., 1, :], x[..., 2, :], x[..., 3, :])
    return -torch.stack([angle.sin(), angle.cos()], -1)


def _read(batch: FrameBatch, row: int) -> Protein:
    """Returns the protein of a row that the representation does not know."""
    seen = batch.mask[row]
    letters = "".join(residues.ALPHABET[k] for k in batch.aatype[row][seen].tolist())
    numbers = tuple(batch.residue_index[row][seen].tolist())
    chains = tuple(chr(65 + k % 26) for k in batch.chain_idx[row][seen].tolist())
    return Protein("protein", letters, numbers, chains)


def _new(sequence: str) -> Protein:
    """Returns a protein of that sequence, numbered from 1."""
    if odd := sorted(set(sequence) - set(residues.ALPHABET[:20])):
        raise ConfigError(f"{sequence!r} is no sequence: there is no residue {odd[0]!r}")
    size = len(sequence)
    return Protein("protein", sequence, tuple(range(1, size + 1)), ("A",) * size)
