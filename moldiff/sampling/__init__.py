"""From noise to molecules: the visible loop, its solvers, and generation with everything accounted for."""
