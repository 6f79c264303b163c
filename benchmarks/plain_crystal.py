"""A VAE and a flow of crystals by the book: everything padded to the largest crystal."""

__all__ = ["PlainFlow", "PlainVAE", "plain_loss", "plain_match", "plain_rows"]

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

WIDTH, HEADS, LAYERS, WIDE, LATENT, TYPES = 128, 4, 3, 512, 8, 119

Rows = tuple[Tensor, Tensor, Tensor, Tensor, Tensor]


def plain_rows(structures: Sequence[Any]) -> Rows:
    """Returns types, coordinates, lattices, numbers of atoms and the mask of pymatgen's."""
    most = max(len(s) for s in structures)
    types = torch.zeros(len(structures), most, dtype=torch.long)
    frac = torch.zeros(len(structures), most, 3)
    for row, s in enumerate(structures):
        types[row, : len(s)] = torch.tensor(s.atomic_numbers)
        frac[row, : len(s)] = torch.tensor(s.frac_coords, dtype=torch.float32)
    lattice = torch.stack([torch.tensor(s.lattice.matrix).float() for s in structures])
    counts = torch.tensor([len(s) for s in structures])
    return types, frac, lattice, counts, torch.arange(most) < counts[:, None]


def _transformer(layers: int) -> nn.TransformerEncoder:
    layer = nn.TransformerEncoderLayer(
        WIDTH, HEADS, WIDE, 0.0, "gelu", batch_first=True, norm_first=True
    )
    return nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)


class PlainVAE(nn.Module):
    """Three layers each way, eight latents of an atom."""

    def __init__(self) -> None:
        super().__init__()
        self.types = nn.Embedding(TYPES, WIDTH)
        self.lattice = nn.Sequential(nn.Linear(9, WIDTH), nn.SiLU(), nn.Linear(WIDTH, WIDTH))
        self.frac = nn.Sequential(nn.Linear(3, WIDTH), nn.SiLU(), nn.Linear(WIDTH, WIDTH))
        self.encoder, self.decoder = _transformer(LAYERS), _transformer(LAYERS)
        self.quant = nn.Linear(WIDTH, 2 * LATENT, bias=False)
        self.post_quant = nn.Linear(LATENT, WIDTH)
        self.heads = nn.Linear(WIDTH, TYPES + 3)
        self.cell = nn.Linear(WIDTH, 6)

    def forward(self, rows: Rows) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        types, frac, lattice, counts, mask = rows
        x = self.types(types) + self.frac(frac) + self.lattice(lattice.flatten(1))[:, None]
        moments = self.quant(self.encoder(x, src_key_padding_mask=~mask))
        mean, logvar = moments.chunk(2, -1)
        z = mean + (logvar / 2).exp() * torch.randn_like(mean)
        h = self.decoder(self.post_quant(z), src_key_padding_mask=~mask)
        cell = (self.cell(h) * mask[..., None]).sum(1) / counts[:, None]
        return self.heads(h), cell, mean, logvar


def plain_loss(model: PlainVAE, rows: Rows) -> Tensor:
    """Returns the weighted sum of the terms, over a batch."""
    types, frac, lattice, counts, mask = rows
    found, cell, mean, logvar = model(rows)
    each = mask / counts[:, None]
    ce = nn.functional.cross_entropy(found[..., :TYPES].mT, types, reduction="none")
    apart = (found[..., TYPES:] - frac + 0.5) % 1 - 0.5
    lengths = lattice.norm(dim=-1)
    a, b, c = (lattice / lengths[..., None]).unbind(1)
    angles = torch.stack([(b * c).sum(-1), (a * c).sum(-1), (a * b).sum(-1)], 1).acos()
    error = cell - torch.cat([lengths / counts[:, None] ** (1 / 3), angles], 1)
    kl = (mean.square() + logvar.exp() - 1 - logvar).sum(-1) / 2
    atoms = ce + 10 * apart.square().mean(-1) + 1e-5 * kl
    cells = error[:, :3].square().mean(1) + 10 * error[:, 3:].square().mean(1)
    return ((atoms * each).sum(1) + cells).mean()


class PlainFlow(nn.Module):
    """Four layers that are told the level, and Euler's method along a straight line."""

    def __init__(self, latent: int) -> None:
        super().__init__()
        self.into, self.level = nn.Linear(latent, WIDTH), nn.Linear(WIDTH, WIDTH)
        self.net, self.out = _transformer(LAYERS + 1), nn.Linear(WIDTH, latent)

    def forward(self, x: Tensor, t: Tensor, mask: Tensor) -> Tensor:
        k = torch.exp(-math.log(1e4) * torch.arange(WIDTH // 2) / (WIDTH // 2))
        told = torch.cat([(t[:, None] * k).sin(), (t[:, None] * k).cos()], 1)
        h = self.into(x) + self.level(told)[:, None]
        return self.out(self.net(h, src_key_padding_mask=~mask))

    @torch.no_grad()
    def sample(self, mask: Tensor, latent: int, steps: int) -> Tensor:
        """Returns latents, padded ones included."""
        x = torch.randn(*mask.shape, latent)
        for t in torch.linspace(1, 1 / steps, steps):
            x = x - self(x, t.expand(len(x)), mask) / steps
        return x


def plain_match(matcher: Any, pairs: Sequence[tuple[Any, Any]]) -> list[float | None]:
    """Compares structures one after the other, whatever their compositions."""
    found = [matcher.get_rms_dist(a, b) for a, b in pairs]
    return [None if f is None else f[0] for f in found]
