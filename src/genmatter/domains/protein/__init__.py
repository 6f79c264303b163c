"""Proteins of one family: aligned amino-acid sequences.

One object is a row of an alignment: at each column one of twenty amino acids, or a gap. Columns
are counted as the residues of a focus sequence, where there is one.

Units: likelihoods in nats per sequence, or per residue where that is said; mass in g/mol.
"""
