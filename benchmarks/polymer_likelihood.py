"""How far a diffusion's log-likelihood is from Boltzmann's law.

    python -m benchmarks.polymer_likelihood RUN

Up to a constant, minus the logarithm of the normalisation, log p of a chain's positions is minus
its energy. What is printed is how far their sum is from one constant over the test split.
"""

import sys

import torch

from genmatter import api
from genmatter.maths.geometry import internal

CHAINS = 500


def main() -> None:
    """Reads a run on simulated chains, and prints."""
    it = api.load(sys.argv[1])
    chains = it.splits.test[:CHAINS]
    # the density of bonds and angles is that of positions times b^(d - 1), and sin of each bend
    chain = internal(chains)
    volume = (chains.shape[-1] - 1) * chain.bonds.log().sum(1) + chain.bends.sin().log().sum(1)
    log_p = it.observe(chains)["log_likelihood"] - volume
    energy = it.domain.energy(chains.double()).float()  # pyright: ignore[reportAttributeAccessIssue]
    rest = log_p + energy
    together = torch.corrcoef(torch.stack([log_p, -energy]))[0, 1]
    print(f"log p + U: {rest.mean():.2f} +- {rest.std():.2f} kT over {len(rest)} test chains")
    print(f"U itself: {energy.mean():.2f} +- {energy.std():.2f} kT; correlation {together:.3f}")


if __name__ == "__main__":
    main()
