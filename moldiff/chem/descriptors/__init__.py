"""Numbers of a molecule: RDKit's, those of GFN2-xTB, fingerprints, motifs, and scores made of them."""
