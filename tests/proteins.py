"""Proteins of chance, for tests: chains of ideal bonds whose torsions wander."""

import math

import numpy as np
import torch

from genmatter.domains.backbone.conformers import Protein, centred
from genmatter.maths import residues
from genmatter.maths.atoms import atom14_to_frames, backbone
from genmatter.maths.geometry import InternalCoordinates, grow

SEQUENCE = "GAYPKW"
BONDS = (1.46, 1.525, 1.33)
ANGLES = (1.94, 2.03, 2.12)
TORSIONS = (2.3, math.pi, -1.2)


def protein(sequence=SEQUENCE, name="tiny", first=1, chains=None):
    n = len(sequence)
    return Protein(name, sequence, tuple(range(first, first + n)), tuple(chains or "A" * n))


def frames(n=8, sequence=SEQUENCE, seed=0, side_chains=True, wander=0.3):
    """Frames `[n, residues, 14, 3]`, centred; what is beyond CB only has to be somewhere."""
    g = torch.Generator().manual_seed(seed)
    size = len(sequence)

    def cycle(values, count):
        return torch.tensor((values * size)[:count], dtype=torch.float64).expand(n, -1)

    noise = wander * torch.randn(n, 3 * size - 3, generator=g, dtype=torch.float64)
    turns = cycle(TORSIONS, 3 * size - 3) + noise
    bends = math.pi - cycle(ANGLES, 3 * size - 2)
    x, _ = grow(InternalCoordinates(cycle(BONDS, 3 * size - 1), bends, turns))
    x = x + 1.0  # the first is at the origin, where an atom would be taken to be absent
    body = atom14_to_frames(x.unflatten(1, (size, 3)))
    psi = torch.tensor([0.0, 1.0], dtype=torch.float64).expand(n, size, 2)
    atoms = backbone(body, psi, residues.aatype(sequence))
    found = torch.zeros(n, size, 14, 3, dtype=torch.float64)
    found[:, :, :5] = atoms
    found[:, :, :3] = x.unflatten(1, (size, 3))
    for i, letter in enumerate(sequence):
        for slot in range(5, len(residues.ATOM14[letter]) if side_chains else 5):
            found[:, i, slot] = atoms[:, i, 4] + torch.randn(n, 3, generator=g) * 0.5 + 1
    return centred(found).float()


def saved(folder, name="tiny", replicas=(1, 2), n=400, sequence=SEQUENCE, dtype=np.float16):
    """Writes a folder of trajectories as the field has it."""
    folder.mkdir(parents=True, exist_ok=True)
    for r in replicas:
        x = frames(n, sequence, seed=r).numpy()
        np.save(folder / f"{name}_R{r}.npy", x.astype(dtype))
    table = folder / "atlas.csv"
    head = "" if table.exists() else "name,seqres\n"
    with table.open("a") as file:
        file.write(f"{head}{name},{sequence}\n")
    return folder
