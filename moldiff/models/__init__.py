"""Networks with all that they need to be used: the folder on disk, the denoiser, the property network."""
