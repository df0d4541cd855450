"""Training on prepared data with PyTorch Lightning: the task, its optimisers, exact resume, and the run."""
