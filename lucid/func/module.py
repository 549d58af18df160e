"""`functional_call` and `stack_module_state`: modules as functions of their tensors.

Called by users, together with `grad` and `vmap`.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import lucid
from lucid.array import Array


def functional_call(
    module: Any,
    parameter_and_buffer_dicts: dict[str, Any] | Sequence[dict[str, Any]],
    args: Any = None,
    kwargs: dict[str, Any] | None = None,
    *,
    tie_weights: bool = True,
    strict: bool = False,
) -> Any:
    """module(*args, **kwargs) with other tensors in the place of its parameters and buffers, which
    it has back afterwards.

    parameter_and_buffer_dicts: dotted name -> tensor, or several such dicts. Names that are not in
    them stay what they are; `strict` asks for all of them. tie_weights: one tensor under several
    names is replaced under all by what is given for one of them. A buffer that the module assigns
    anew is in the dict afterwards. `args` is a tuple, or the only argument.

    Raises RuntimeError naming what the module has not, or what is missing.

    >>> import lucid
    >>> m = lucid.nn.Linear(2, 1, bias=False)
    >>> lucid.func.functional_call(m, {"weight": lucid.ones(1, 2)}, lucid.tensor([3.0, 4.0]))
    tensor([7.])
    """
    given: dict[str, Any] = {}
    dicts: list[Any] = [parameter_and_buffer_dicts]
    if not isinstance(parameter_and_buffer_dicts, dict):
        dicts = list(parameter_and_buffer_dicts)
    for one in dicts:
        if not isinstance(one, dict):
            raise TypeError(f"functional_call: a dict is needed, got {type(one).__name__}")
        twice = sorted(given.keys() & one.keys())
        if twice:
            raise ValueError(f"functional_call: {twice} stand in several of the dicts")
        given |= one
    arguments = () if args is None else args if isinstance(args, tuple) else (args,)
    with _replaced(module, given, tie_weights, strict, dicts):
        return module(*arguments, **(kwargs or {}))


@contextmanager
def _replaced(
    module: Any, given: dict[str, Any], tie: bool, strict: bool, dicts: list[dict]
) -> Iterator[None]:
    places = _places(module)
    unknown = sorted(name for name in given if name not in places)
    if unknown:
        raise RuntimeError(
            f"functional_call: {type(module).__name__} has no parameter or buffer {unknown}"
        )
    for name, value in given.items():
        if not isinstance(value, Array):
            raise TypeError(f"functional_call: {name!r} is a {type(value).__name__}, not a tensor")
    filled = _tied(places, given) if tie else dict(given)
    missing = sorted(places.keys() - filled.keys())
    if strict and missing:
        raise RuntimeError(f"functional_call: nothing is given for {missing} (strict=True)")
    before = [(places[name], places[name][0][places[name][1]]) for name in filled]
    try:
        for name, value in filled.items():
            table, key, owner = places[name]
            table[key] = value
            owner._bump()
        yield
    finally:
        for one in dicts:
            for name in one:
                table, key, _ = places[name]
                one[name] = table.get(key, one[name])
        for (table, key, owner), value in before:
            table[key] = value
            owner._bump()


def _places(module: Any) -> dict[str, tuple[dict, str, Any]]:
    """Where each parameter and buffer stands: table, key, module."""
    found = {}
    for path, part in module.named_modules(remove_duplicate=False):
        for table in (part._parameters, part._buffers):
            for key, value in table.items():
                if value is not None:
                    found[f"{path}.{key}" if path else key] = table, key, part
    return found


def _tied(places: dict[str, tuple], given: dict[str, Any]) -> dict[str, Any]:
    """`given`, and the same for the other names of a tensor that has several."""
    names: dict[int, list[str]] = {}
    for name, (table, key, _) in places.items():
        names.setdefault(id(table[key]), []).append(name)
    filled = dict(given)
    for same in names.values():
        values = {id(given[n]): given[n] for n in same if n in given}
        if len(values) > 1:
            raise ValueError(
                f"functional_call: {same} are one tensor of the module, different ones are given "
                "for them; say tie_weights=False to separate them"
            )
        for value in values.values():
            filled |= dict.fromkeys(same, value)
    return filled


def stack_module_state(models: Sequence[Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """(parameters, buffers) of models of one architecture, each tensor stacked along a new first
    dimension: for `vmap` over an ensemble with `functional_call`. The parameters are new leaves
    that require a gradient where those of the models do.

    >>> import lucid
    >>> from lucid.func import functional_call, stack_module_state, vmap
    >>> models = [lucid.nn.Linear(3, 1) for _ in range(4)]
    >>> parameters, buffers = stack_module_state(models)
    >>> run = lambda p, b, x: functional_call(models[0], (p, b), x)
    >>> vmap(run, (0, 0, None))(parameters, buffers, lucid.ones(2, 3)).shape
    lucid.Size([4, 2, 1])
    """
    listed = list(models)
    if not listed:
        raise RuntimeError("stack_module_state: at least one model is needed")
    kinds = {type(m) for m in listed}
    if len(kinds) > 1:
        names = sorted(k.__name__ for k in kinds)
        raise RuntimeError(f"stack_module_state: models of one class are needed, got {names}")
    if len({m.training for m in listed}) > 1:
        raise RuntimeError("stack_module_state: some models are in train mode, others in eval mode")
    parameters = _stacked([dict(m.named_parameters()) for m in listed], True)
    return parameters, _stacked([dict(m.named_buffers()) for m in listed], False)


def _stacked(tables: list[dict[str, Any]], trained: bool) -> dict[str, Any]:
    first = tables[0]
    if any(t.keys() != first.keys() for t in tables):
        raise RuntimeError("stack_module_state: the models have different parameters or buffers")
    made = {}
    for name, value in first.items():
        own = [t[name] for t in tables]
        shapes = {tuple(x.shape) for x in own}
        if len(shapes) > 1:
            raise RuntimeError(
                f"stack_module_state: {name!r} has different shapes: {sorted(shapes)}"
            )
        flags = {x.requires_grad for x in own}
        if len(flags) > 1:
            raise RuntimeError(f"stack_module_state: only some of {name!r} require a gradient")
        with lucid.no_grad():
            y = lucid.stack(own)
        made[name] = y.requires_grad_() if trained and value.requires_grad else y
    return made
