"""A prover that is never wrong, and not by never proving."""
