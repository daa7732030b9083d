"""The conflict solvers that core itself contributes."""
