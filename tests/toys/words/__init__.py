"""A toy kind of matter: words of five letters.

It has what the others lack: objects that are equal or not, that are written as text, and have no
gradients; raw draws that are no words; targets for samples, and properties told from the latent.
"""
