"""``closed-form``: affine followers, leaders' exact best decisions."""

from stackel.solvers.closed_form.backend import ClosedForm

__all__ = ["ClosedForm"]
