"""Training on a model's own draws: their states, how they are collected, and their weights."""
