"""What noise means: curves of noise levels, Gaussian and categorical processes, joint use, preconditioning."""
