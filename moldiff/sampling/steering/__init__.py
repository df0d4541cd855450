"""From what users wish to what the sampler does about it, and how near the molecules came."""
