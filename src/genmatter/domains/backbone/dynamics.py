"""Langevin dynamics of a capped peptide in implicit solvent, by OpenMM (the extra `[md]`).

References:
    | OpenMM 8: Molecular dynamics simulation with machine learning potentials
    | (Eastman et al., 2024, https://doi.org/10.1021/acs.jpcb.3c06662)
    | Unified efficient thermostat scheme for the canonical ensemble
    | (Zhang et al., 2019, https://doi.org/10.1021/acs.jpca.9b02771): the integrator
    | Long-time-step molecular dynamics through hydrogen mass repartitioning
    | (Hopkins et al., 2015, https://doi.org/10.1021/ct5010406): steps of 4 fs
"""

__all__ = ["Dynamics", "State", "Stretch", "openmm"]

import io
import math
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from genmatter.domains.backbone.config import PeptideConfig
from genmatter.domains.backbone.peptide import structure
from genmatter.errors import ConfigError, DataError, MissingExtraError
from genmatter.maths.residues import slot

_STEP_PS = 0.004  # at most
_FRICTION = 1.0  # per ps
_HYDROGEN = 1.5  # dalton, of which the atom that it is bound to gives a part
# atoms up to which OpenMM's reference code is faster on one core than its fast one: 62 atoms make
# 1,770 ns a day (the fast one 350), 175 atoms 235 (205)
_SMALL = 200
_BOLTZMANN = 8.31446261815324e-3  # kJ/mol per kelvin


class State(NamedTuple):
    """Where a replica is: nm and nm/ps of all atoms, and how many stretches it has made."""

    positions: Float[np.ndarray, "atoms 3"]
    velocities: Float[np.ndarray, "atoms 3"]
    stretches: int = 0


class Stretch(NamedTuple):
    """What a stretch gives: frames in angstrom, the state behind it, and its mean temperature."""

    frames: Float[np.ndarray, "frames residues 14 3"]
    state: State
    kelvin: float


@dataclass(frozen=True)
class Dynamics:
    """The molecule, its energy, and how to follow it."""

    system: Any
    built: Float[np.ndarray, "atoms 3"]
    """Positions as they were built, in nm."""
    slots: Int[np.ndarray, "heavy 3"]
    """The atoms that frames show: which atom, of which residue, in which of its 14 slots."""
    kelvin: float
    steps: int
    """Steps from one frame to the next."""
    step_ps: float

    @classmethod
    def of(cls, peptide: PeptideConfig, twist: tuple[float, float]) -> "Dynamics":
        """Builds a peptide with those torsions.

        Raises:
            ConfigError: The force field is none, or not one for it.
            MissingExtraError: OpenMM or PeptideBuilder is not installed.
        """
        topology, built, system = _molecule(
            structure(peptide.sequence, *twist), peptide.force_field
        )
        slots = [
            (atom.index, residue.index - 1, place)  # a cap comes first
            for residue in list(topology.residues())[1:-1]
            for atom in residue.atoms()
            if (place := slot(residue.name, atom.name)) is not None
        ]
        steps = math.ceil(peptide.save_ps / _STEP_PS - 1e-9)
        kelvin, step_ps = peptide.temperature, peptide.save_ps / steps
        return cls(system, built, np.array(slots), kelvin, steps, step_ps)

    def start(self, seed: int) -> State:
        """Relaxes what was built, and draws velocities."""
        context = self._context(seed)
        context.setPositions(self.built)
        openmm().LocalEnergyMinimizer.minimize(context)
        context.setVelocitiesToTemperature(self.kelvin, seed)
        return _state(context)

    def follow(self, state: State, frames: int, seed: int) -> Stretch:
        """Goes on from a state.

        Raises:
            DataError: It explodes.
        """
        context = self._context(seed)
        context.setPositions(state.positions)
        context.setVelocities(state.velocities)
        found: list[State] = []
        try:
            for _ in range(frames):
                context.getIntegrator().step(self.steps)
                found.append(_state(context))
        except openmm().OpenMMException as error:
            raise DataError(f"the peptide exploded ({error})") from None
        heat = float(np.mean([self._temperature(s.velocities) for s in found]))
        if not heat < 2 * self.kelvin:
            raise DataError(f"the peptide exploded: it has {heat:.3g} K, not {self.kelvin:g}")
        return Stretch(np.stack([self._frame(s.positions) for s in found]), found[-1], heat)

    def _context(self, seed: int) -> Any:
        mm = openmm()
        integrator = mm.LangevinMiddleIntegrator(self.kelvin, _FRICTION, self.step_ps)
        integrator.setRandomNumberSeed(seed)
        return mm.Context(self.system, integrator, *_platform(len(self.built)))

    def _frame(self, positions: np.ndarray) -> np.ndarray:
        atom, residue, place = self.slots.T
        x = 10 * positions[atom]  # from nm
        frame = np.zeros((residue[-1] + 1, 14, 3), np.float32)
        frame[residue, place] = x - x[place == 1].mean(0)
        return frame

    def _temperature(self, velocities: np.ndarray) -> float:
        """Returns the kinetic temperature: half a kT for each degree of freedom."""
        masses = [self.system.getParticleMass(i)._value for i in range(len(velocities))]
        free = 3 * len(velocities) - self.system.getNumConstraints()
        return float(np.array(masses) @ np.square(velocities).sum(1)) / (free * _BOLTZMANN)


def _molecule(pdb: str, force_field: str) -> tuple[Any, Float[np.ndarray, "atoms 3"], Any]:
    """Returns the topology with hydrogens, positions in nm, and the energy."""
    app = openmm().app
    heavy = app.PDBFile(io.StringIO(pdb))
    modeller = app.Modeller(heavy.topology, heavy.positions)
    with _force_field(force_field) as field, _fixed_random():
        modeller.addHydrogens(field, platform=_platform(0)[0])
        system = field.createSystem(
            modeller.topology,
            nonbondedMethod=app.NoCutoff,
            constraints=app.HBonds,
            hydrogenMass=_HYDROGEN,
            removeCMMotion=False,
        )
        if not any("GB" in force.getName() for force in system.getForces()):
            raise ValueError("it has no implicit solvent, such as amber99_obc.xml")
    return modeller.topology, np.array(modeller.positions._value), system


def _state(context: Any) -> State:
    found = context.getState(getPositions=True, getVelocities=True)
    return State(found.getPositions(asNumpy=True)._value, found.getVelocities(asNumpy=True)._value)


def openmm() -> Any:
    """Returns OpenMM.

    Raises:
        MissingExtraError: It or PeptideBuilder is not installed.
    """
    try:
        import openmm
        import openmm.app
        import PeptideBuilder  # noqa: F401
    except ImportError as error:
        raise MissingExtraError(
            f"a simulation needs {error.name}: pip install 'genmatter[md]'; or give data with "
            "--data or with --pdb and --traj, or take --simulator torsions, which needs nothing"
        ) from None
    return openmm


def _platform(atoms: int) -> tuple[Any, dict[str, str]]:
    """Returns what computes fastest on one core, and the same each time."""
    get = openmm().Platform.getPlatformByName
    if atoms <= _SMALL:
        return get("Reference"), {}
    return get("CPU"), {"Threads": "1", "DeterministicForces": "true"}


@contextmanager
def _force_field(files: str) -> Iterator[Any]:
    """Reads files, and says of whatever fails with them that they are to blame.

    Raises:
        ConfigError: Something failed.
    """
    try:
        yield openmm().app.ForceField(*(name.strip() for name in files.split(",")))
    except Exception as error:  # OpenMM has no class for these
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ConfigError(f"the force field {files!r} is not one for this: {reason}") from None


@contextmanager
def _fixed_random() -> Iterator[None]:
    """Makes hydrogens, which OpenMM puts near their place by chance, land the same each time."""
    before = random.getstate()
    random.seed(0)
    try:
        yield
    finally:
        random.setstate(before)
