"""Averaged weights, which validation and sampling use."""

__all__ = ["Average"]

import copy

import torch
from torch import Tensor

from genmatter.spine import Generative


class Average:
    """A copy of a model that follows its weights, and takes its buffers as they are."""

    def __init__(self, model: Generative, memory: float, device: torch.device) -> None:
        self.model = copy.deepcopy(model).requires_grad_(False).to(device)
        self.memory = memory
        # looked up once: walking through the modules at every step costs as much as averaging
        self._pairs = list(zip(self.model.parameters(), model.parameters(), strict=True))
        self._buffers = list(zip(self.model.buffers(), model.buffers(), strict=True))

    @torch.no_grad()
    def follow(self, step: int) -> None:
        """Draws the averages towards the new weights; slower once there were many steps."""
        weight = 1 - min(self.memory, (step + 1) / (step + 10))
        means: list[Tensor] = [a for a, _ in self._pairs]
        news: list[Tensor] = [b for _, b in self._pairs]
        torch._foreach_lerp_(means, news, weight)  # pyright: ignore[reportPrivateImportUsage]
        for a, b in self._buffers:
            a.copy_(b)
