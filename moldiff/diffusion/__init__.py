"""Diffusion: schedules of noise levels, Gaussian and categorical processes, joint use, preconditioning."""
