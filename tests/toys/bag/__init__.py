"""A toy kind of matter: bags of two to six points, some with a known charge.

It has what the real one tested beside it lacks: sizes that differ, masks, conditions that may
be unknown, a second stage, and a model without a latent.
"""
