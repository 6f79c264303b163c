"""How far two sets of samples are apart. Arrays in, numbers out; knows no object and no model."""
