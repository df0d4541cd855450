"""What is wanted of molecules, as numbers: targets, named scores, property networks."""
