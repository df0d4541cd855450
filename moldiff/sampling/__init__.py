"""From noise to tensors of molecules: the loop, its solvers, conditions, guidance, constraints, particles."""
