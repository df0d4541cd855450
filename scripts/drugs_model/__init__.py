"""Training of the built-in model ``drugs`` on one GPU, in minutes; start with `python -m scripts.drugs_model -h`.

The mathematics is the package's: noise, losses, solver, labels, weights. What differs is how it runs: whole steps and
walks as CUDA graphs, random numbers of the device. A run cannot be repeated bit by bit.
"""
