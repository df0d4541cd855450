"""What users ask for by name: generate, vary, conformers; every molecule of it on record."""
