"""Options of generation: the users' words, checked and held against the model."""
