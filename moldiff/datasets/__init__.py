"""From files to training data: prepared memory-mapped folders, their statistics, and batches by indexing."""
