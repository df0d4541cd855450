"""What users wish of molecules, and what the sampler does about it."""
