"""Where networks are computed, and how: device, precision, and processes that share the work."""

__all__ = ["devices", "fabric_for", "plan"]

import logging
import os
from typing import Any

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment

from genmatter.errors import ConfigError


def fabric_for(device: str, precision: str, threads: int) -> Fabric:
    """Returns Fabric for a device; under `torchrun` it joins the other processes.

    Raises:
        ConfigError: The device is not there, or there are more processes than devices.
    """
    if threads:
        torch.set_num_threads(threads)
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # it tells what it does
    how = {"32": "32-true", "bf16": "bf16-mixed"}[precision]
    fabric = Fabric(precision=how, **plan(device))  # pyright: ignore[reportArgumentType]
    fabric.launch()
    return fabric


def plan(device: str) -> dict[str, Any]:
    """Returns how Fabric should compute: the device, and the processes that were started.

    Raises:
        ConfigError: The device is not there, or there are more processes than devices.
    """
    world = int(os.environ.get("WORLD_SIZE", "1"))
    here = int(os.environ.get("LOCAL_WORLD_SIZE", str(world)))
    there = devices()
    if device == "auto":
        device = next(iter(there)) if world == 1 or "cuda" in there else "cpu"
    if device not in there:
        raise ConfigError(f"there is no device {device!r} here; there is {', '.join(there)}")
    if device != "cpu" and here > there[device]:
        raise ConfigError(
            f"{here} processes on this machine would share {there[device]} {device} device: "
            "start fewer, or add --device cpu"
        )
    if world == 1:
        return {"accelerator": device, "devices": 1}
    # named, or Lightning might take SLURM's own numbering instead of torchrun's
    environment = TorchElasticEnvironment()
    return {
        "accelerator": device,
        "devices": here,
        "num_nodes": world // here,
        "strategy": "ddp",
        "plugins": [environment],
    }


def devices() -> dict[str, int]:
    """Returns how many devices of each kind this machine has, the fastest first."""
    there = {"cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}
    return {kind: count for kind, count in there.items() if count} | {"cpu": 1}
