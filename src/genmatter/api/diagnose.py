"""What this installation is, and whether it works."""

__all__ = ["doctor"]

import importlib.metadata
import importlib.util
import platform
import time
from typing import Any

import torch

EXTRAS = {"lightning": "lightning", "docs": "sphinx", "dev": "pytest"}
"""Extras and a module that each brings."""
PACKAGES = ("torch", "lightning-fabric", "numpy", "scipy", "scikit-learn", "matplotlib", "ase")


def doctor() -> dict[str, Any]:
    """Returns versions, devices, extras, and the outcome of a self-check of about a second."""
    from genmatter import __version__

    found: dict[str, Any] = {
        "genmatter": __version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}, {torch.get_num_threads()} threads",
    }
    found |= {name: importlib.metadata.version(name) for name in PACKAGES}
    found["devices"] = ", ".join(_devices())
    for extra, module in EXTRAS.items():
        here = importlib.util.find_spec(module) is not None
        found[f"[{extra}]"] = "installed" if here else f"missing: pip install genmatter[{extra}]"
    start = time.perf_counter()
    found["self-check"] = f"{_self_check()} in {time.perf_counter() - start:.1f} s"
    return found


def _devices() -> list[str]:
    cuda = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return ["cpu", *cuda, *(["mps"] if torch.backends.mps.is_available() else [])]


def _self_check() -> str:
    """Fits a line, on every device there is: gradients point down, and devices agree."""
    losses = []
    for device in ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]:
        x = torch.linspace(-1, 1, 64, device=device)[:, None]
        w = torch.zeros(1, 1, device=device, requires_grad=True)
        adam = torch.optim.Adam([w], lr=0.1)
        for _ in range(100):
            adam.zero_grad()
            (x @ w - 2 * x).square().mean().backward()
            adam.step()
        losses.append((x @ w - 2 * x).square().mean().item())
    return "passed" if all(v < 1e-3 for v in losses) else f"FAILED: losses {losses}"
