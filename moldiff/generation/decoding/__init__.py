"""From a prediction to a molecule: plain, or the most probable one that obeys valence and constraints."""
