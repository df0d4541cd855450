"""What noise means: curves of noise levels, Gaussian and categorical processes, their joint use, and preconditioning."""
