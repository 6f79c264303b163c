"""Backbones with torsions that are known."""

import math

import torch

from genmatter.maths.atoms import atom14_to_frames, backbone
from genmatter.maths.geometry import InternalCoordinates, grow
from genmatter.maths.noise import generator
from genmatter.maths.rotation import to_matrix


def normal(*shape, key=0):
    return torch.randn(shape, generator=generator("backbones", key), dtype=torch.float64)


def chains(phi, psi, omega=None, link=1.329):
    """Grows `[n, residues, 5, 3]` from phi, psi and omega `[n, residues - 1]` of the links."""
    n, links = psi.shape
    omega = torch.full_like(phi, math.pi) if omega is None else omega
    turns = torch.stack([psi, omega, phi], -1).flatten(1)
    bonds = torch.tensor([1.46, 1.52, link]).double().repeat(links + 1)[: 3 * links + 2]
    bends = torch.tensor([69.0, 63.8, 58.3]).double().deg2rad().repeat(links + 1)[: 3 * links + 1]
    grown, _ = grow(InternalCoordinates(bonds.expand(n, -1), bends.expand(n, -1), turns))
    told = torch.cat([psi, psi.new_zeros(n, 1)], 1)
    frames = atom14_to_frames(grown.unflatten(1, (links + 1, 3)))
    x = backbone(frames, torch.stack([told.sin(), told.cos()], -1))
    return torch.cat([grown.unflatten(1, (links + 1, 3)), x[:, :, 3:]], 2)


def loose(n, residues=6, key=0):
    """Draws chains in the alpha and the beta basin, which no link ties to the next."""
    helical = normal(n, residues - 1, key=f"{key} basin") > 0
    centres = torch.tensor([[-2.2, 2.3], [-1.1, -0.8]]).double()[helical.long()]
    phi, psi = (centres + 0.2 * normal(n, residues - 1, 2, key=f"{key} spread")).unbind(-1)
    return chains(phi, psi, math.pi + 0.08 * normal(n, residues - 1, key=f"{key} omega"))


def fold(residues=30):
    """Returns one long helix with a kink."""
    phi, psi = torch.full((1, residues - 1), -1.05), torch.full((1, residues - 1), -0.78)
    psi[0, residues // 2] = 2.0
    return chains(phi.double(), psi.double())


def moved(x, key=0):
    """Moves each conformer somewhere else."""
    turn = to_matrix(normal(len(x), 1, 4, key=f"{key} turn"))
    return x @ turn.mT + 20 * normal(len(x), 1, 1, 3, key=f"{key} shift")
