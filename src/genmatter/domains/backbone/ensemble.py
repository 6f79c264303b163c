r"""Ensembles as the field reports them on ATLAS: figures of each protein, then of all of them.

Everything is of CA atoms, in angstrom, after superposition on a reference structure (the crystal
structure where there is one). With :math:`x` the samples, :math:`y` the frames of molecular
dynamics, means over them :math:`\langle\cdot\rangle` and L residues:

    pairwise RMSD       :math:`\langle d(x, x') \rangle`, d the RMSD without superposing again
    RMSF                :math:`\langle \lVert x_i - \langle x_i \rangle \rVert^2 \rangle^{1/2}` of
                        residue i; its Pearson r within a protein, and over all residues of all
    RMWD                the root of the mean over i of :math:`W_2^2` between the normal laws fitted
                        to :math:`x_i` and :math:`y_i`, which has a part of means (translation) and
                        a part of covariances (variance)
    PCA W2              exact :math:`W_2` between the samples and as many frames on two principal
                        components, of the frames (MD) or of both in equal parts (joint), over
                        :math:`L^{1/2}`
    PC similarity       :math:`|\cos|` between the first components of either; the figure is the
                        share of proteins above .5
    weak contacts       pairs within 8 in the reference and apart in over 10% of an ensemble
    transient contacts  pairs apart in the reference and within 8 in over 10% of an ensemble; both
                        by the Jaccard index of the samples' pairs and the frames'

Differences from the published code: a conformer is not compared with itself, frames are drawn
without replacement, and RMSF and RMWD, there of the heavy atoms, are of CA. Exposed residues are
left out: they are a matter of side chains, which samples do not have.

References:
    | AlphaFold meets flow matching for generating protein ensembles (Jing et al., 2024), its text
    | https://arxiv.org/abs/2402.04845 and code https://github.com/bjing2016/alphaflow
    | ATLAS: protein flexibility description from atomistic molecular dynamics simulations (Vander
    | Meersche et al., 2024) https://doi.org/10.1093/nar/gkad1084
"""

__all__ = ["Figures", "figures", "jaccard", "principal_components", "rmsf", "scores"]

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, median

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from genmatter.errors import DataError
from genmatter.evaluation.compare import correlation, normal_transport, transport
from genmatter.evaluation.sets import subset
from genmatter.maths.superpose import superpose
from genmatter.spine import Score

Alphas = Float[Tensor, "n residues 3"]

CONTACT = 8.0
"""Two residues touch below this distance of their CA."""


@dataclass(frozen=True)
class Figures:
    """What is told of one protein, of samples and of molecular dynamics (`md_`)."""

    pairwise: float
    md_pairwise: float
    rmsf: Float[Tensor, " residues"]
    md_rmsf: Float[Tensor, " residues"]
    translation: float
    """The root mean square over atoms of the means' part of RMWD."""
    variance: float
    """That of the covariances' part."""
    md_pca_w2: float
    joint_pca_w2: float
    pc_similarity: float
    weak: float
    """Jaccard index of the weak contacts; NaN where neither ensemble has any."""
    transient: float

    @property
    def rmwd(self) -> float:
        """Root mean Wasserstein distance."""
        return (self.translation**2 + self.variance**2) ** 0.5


def rmsf(x: Alphas) -> Float[Tensor, " residues"]:
    """Returns the root mean square fluctuation of each atom of superposed conformers."""
    return (x - x.mean(0)).square().sum(-1).mean(0).sqrt()


def figures(
    x: Float[Tensor, "n _ 3"],
    md: Float[Tensor, "m _ 3"],
    reference: Float[Tensor, "_ 3"],
    key: int | str = 0,
) -> Figures:
    """Compares samples of one protein with its frames of molecular dynamics.

    As many frames as there are samples are drawn where the number matters.

    Raises:
        DataError: Samples, frames and reference differ in residues, or there are fewer than two.
    """
    shapes = [tuple(t.shape[-2:]) for t in (x, md, reference)]
    if len(set(shapes)) > 1 or min(len(x), len(md)) < 2:
        raise DataError(
            f"{len(x)} samples, {len(md)} frames and the reference have [residues, 3] = "
            f"{', '.join(map(str, shapes))}: expected the same, and two of each set at least"
        )
    on = reference.double()
    x, md = superpose(x.double(), on), superpose(md.double(), on)
    n = min(len(x), len(md))
    a, b = subset(x, n, "ensemble", key), subset(md, n, "molecular dynamics", key)
    shift, shape = normal_transport(x, md)
    axes, md_axes = principal_components(x, 1), principal_components(md, 2)
    touch, md_touch = _touching(a), _touching(b)
    near = _touching(on[None]) > 0
    return Figures(
        *(_pairwise(a), _pairwise(b), rmsf(x), rmsf(md)),
        *(shift.mean().sqrt().item(), shape.mean().sqrt().item()),
        md_pca_w2=_on(md_axes, a, b),
        joint_pca_w2=_on(principal_components(torch.cat([a, b]), 2), a, b),
        pc_similarity=abs(float(axes[0] @ md_axes[0])),
        weak=jaccard(near & (touch < 0.9), near & (md_touch < 0.9)),
        transient=jaccard(~near & (touch > 0.1), ~near & (md_touch > 0.1)),
    )


def _pairwise(x: Alphas) -> float:
    """Returns the mean distance of two different conformers."""
    return (torch.pdist(x.flatten(1)).mean() / x.shape[1] ** 0.5).item()


def principal_components(x: Alphas, count: int) -> Float[Tensor, "count coordinates"]:
    """Returns the directions of greatest variance of superposed conformers, each of length 1."""
    flat = x.flatten(1)
    return torch.linalg.svd(flat - flat.mean(0), full_matrices=False).Vh[:count]


def _on(axes: Float[Tensor, "count coordinates"], a: Alphas, b: Alphas) -> float:
    """Returns the distance of two sets along some directions, per atom as an RMSD is."""
    return transport(a.flatten(1) @ axes.T, b.flatten(1) @ axes.T) / a.shape[1] ** 0.5


def _touching(x: Alphas) -> Float[Tensor, " pairs"]:
    """Returns the share of conformers in which each pair is within reach."""
    i, j = torch.triu_indices(x.shape[1], x.shape[1], 1, device=x.device)
    reach = [(part[:, i] - part[:, j]).norm(dim=-1) < CONTACT for part in x.split(32)]
    return torch.cat(reach).double().mean(0)


def jaccard(a: Bool[Tensor, " pairs"], b: Bool[Tensor, " pairs"]) -> float:
    """Returns how much of what either has both have; NaN where neither has anything."""
    either = (a | b).sum().item()
    return (a & b).sum().item() / either if either else float("nan")


def scores(proteins: Sequence[Figures]) -> dict[str, Score]:
    """Returns the figures over proteins as the table of the paper has them: medians mostly.

    Correlations over proteins ask for three at least, and stand only there. Jaccard indices are
    medians over the proteins that have such contacts.
    """
    md_pairwise = median(p.md_pairwise for p in proteins)
    pooled, md_pooled = (
        torch.cat(list(each))
        for each in ((p.rmsf for p in proteins), (p.md_rmsf for p in proteins))
    )
    found = {
        "pairwise_rmsd": Score(median(p.pairwise for p in proteins), md_pairwise, "A"),
        "rmsf": Score(float(pooled.quantile(0.5)), float(md_pooled.quantile(0.5)), "A"),
        "global_rmsf_r": Score(correlation(pooled, md_pooled), 1.0),
        "protein_rmsf_r": Score(median(correlation(p.rmsf, p.md_rmsf) for p in proteins), 1.0),
        "rmwd": Score(median(p.rmwd for p in proteins), 0.0, "A"),
        "rmwd_translation": Score(median(p.translation for p in proteins), 0.0, "A"),
        "rmwd_variance": Score(median(p.variance for p in proteins), 0.0, "A"),
        "md_pca_w2": Score(median(p.md_pca_w2 for p in proteins), 0.0, "A"),
        "joint_pca_w2": Score(median(p.joint_pca_w2 for p in proteins), 0.0, "A"),
        "pc_sim": Score(fmean(p.pc_similarity > 0.5 for p in proteins), 1.0, "share above .5"),
        "weak_contacts": Score(_median([p.weak for p in proteins]), 1.0, "Jaccard"),
        "transient_contacts": Score(_median([p.transient for p in proteins]), 1.0, "Jaccard"),
    }
    if len(proteins) > 2:
        pairs = torch.tensor([(p.pairwise, p.md_pairwise) for p in proteins])
        found["pairwise_rmsd_r"] = Score(correlation(pairs[:, 0], pairs[:, 1]), 1.0)
    return found


def _median(values: Sequence[float]) -> float:
    """Returns the median of what is known; 1 where there is nothing, on which all agree."""
    known = [v for v in values if v == v]
    return median(known) if known else 1.0
