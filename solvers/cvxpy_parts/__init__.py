"""Parts of the cvxpy backend: formulas as CVXPY expressions, terms, stacked problems, replies."""
