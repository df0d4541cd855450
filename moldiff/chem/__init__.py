"""Everything that needs RDKit, and nothing else does: molecules in, arrays out, and back, with reasons for failures."""
