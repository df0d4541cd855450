"""The raw E(3)-equivariant network: embeddings, layers, and the whole."""
