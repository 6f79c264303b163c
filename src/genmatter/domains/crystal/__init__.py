"""Crystals: periodic arrangements of atoms, as unit cells.

One object is a crystal: lattice vectors, and atoms with their fractional coordinates; any choice
of the cell, its origin and its orientation, and any order of the atoms is the same crystal.

Units: angstrom, degrees, eV; likelihoods in nats per crystal.
"""
