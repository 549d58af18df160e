"""Transformations of functions: derivatives, and `vmap`, which maps one over a batch."""

from lucid.func.forward import jvp, linearize
from lucid.func.jacobian import hessian, jacfwd, jacrev
from lucid.func.module import functional_call, stack_module_state
from lucid.func.reverse import grad, grad_and_value, vjp
from lucid.func.vmap import vmap

__all__ = [
    "functional_call", "grad", "grad_and_value", "hessian", "jacfwd", "jacrev", "jvp", "linearize",
    "stack_module_state", "vjp", "vmap",
]  # fmt: skip
