"""Molecule files: text records, what RDKit reads of them, bonds from coordinates and coordinates from bonds."""
