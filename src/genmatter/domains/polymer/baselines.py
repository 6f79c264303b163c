r"""The simplest models of a chain that could do the job: what a learned model has to beat.

    pca        two linear components with Gaussian scores: what a linear VAE converges to
    gaussian   one Gaussian of all coordinates
    mixture    sixteen of them
    bootstrap  the ideal chain: each bond length and angle drawn from the training chains,
               independently of all others, so that nothing keeps two beads apart

The first three are distributions of the coordinates after `centre` and `align_principal`.
"""

__all__ = ["BASELINES", "baselines", "bootstrap", "gaussian", "mixture", "pca"]

import warnings
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from genmatter.maths.geometry import align_principal, centre, grow, internal
from genmatter.maths.noise import generator, seed_of

Train = Float[Tensor, "m beads space"]
Samples = Float[Tensor, "n beads space"]


def pca(train: Train, n: int, key: int | str = 0, components: int = 2) -> Samples:
    """Draws from the Gaussian along the leading principal components, without noise.

    References:
        | Don't blame the ELBO! A linear VAE perspective (Lucas et al., 2019)
        | https://arxiv.org/abs/1911.02469
    """
    mean, factor = _principal(train)
    factor = factor[:components]
    z = torch.randn(n, len(factor), generator=generator("pca", key), dtype=factor.dtype)
    return (mean + z @ factor).to(train.dtype).unflatten(1, train.shape[1:])


def gaussian(train: Train, n: int, key: int | str = 0) -> Samples:
    """Draws from the Gaussian that has the mean and the whole covariance of the coordinates."""
    return pca(train, n, key, components=train[0].numel())


def _principal(
    train: Train,
) -> tuple[Float[Tensor, " coordinates"], Float[Tensor, "components coordinates"]]:
    """Returns mean and principal components, each as long as its standard deviation."""
    x = _aligned(train)
    mean = x.mean(0)
    _, values, axes = torch.linalg.svd(x - mean, full_matrices=False)
    return mean, values[:, None] * axes / max(len(x) - 1, 1) ** 0.5


def _aligned(train: Train) -> Float[Tensor, "m coordinates"]:
    return align_principal(centre(train.double())).flatten(1)


def mixture(train: Train, n: int, key: int | str = 0, components: int = 16) -> Samples:
    """Draws from a mixture of Gaussians with full covariances, fitted by maximum likelihood.

    It learns from 10,000 chains at most. Each component has two chains at least for each
    coordinate, so that small training sets get fewer components. On long chains, where a
    step costs much, it stops after fewer steps, five at least.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    x = _aligned(train)
    x = x[torch.randperm(len(x), generator=generator("mixture rows", key))[:10_000]]
    scale, (rows, size) = x.std(), x.shape
    model = GaussianMixture(
        max(1, min(components, rows // (2 * size))),
        max_iter=max(5, min(100, 10**9 // (rows * size**2))),
        random_state=seed_of("mixture", key),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the steps are limited on purpose
        model.fit((x / scale).numpy())
    samples = torch.from_numpy(model.sample(n)[0]) * scale
    order = torch.randperm(n, generator=generator("mixture order", key))  # sorted by component
    return samples[order].to(train.dtype).unflatten(1, train.shape[1:])


def bootstrap(train: Train, n: int, key: int | str = 0) -> Samples:
    """Draws ideal chains: each internal coordinate from a training chain of its own.

    Bond lengths and turn angles (signed in the plane; bends and dihedrals in space) keep
    their distribution at each place along the chain and lose every correlation.

    References:
        Flory, Statistical Mechanics of Chain Molecules (1969), chapter 1.
    """
    random = generator("bootstrap", key)

    def resampled(values: Float[Tensor, "m places"]) -> Float[Tensor, "n places"]:
        rows = torch.randint(len(values), (n, values.shape[1]), generator=random)
        return values.gather(0, rows)

    coordinates = internal(train.double())
    chains, _ = grow(coordinates._make(map(resampled, coordinates)))
    return centre(chains).to(train.dtype)


Model = Callable[[Train, int], Samples]

BASELINES: dict[str, Model] = {
    "pca": pca,
    "gaussian": gaussian,
    "mixture": mixture,
    "bootstrap": bootstrap,
}
"""The simple models by name, each `(train, n, key=0) -> [n, beads, space]`."""


def baselines(train: Train, n: int) -> dict[str, Samples]:
    """Returns `n` samples of each simple model, in the unit of the training chains."""
    return {name: model(train, n) for name, model in BASELINES.items()}
