"""Module: the base class of every layer and model, and the path that an error took through them.

Registration and look-up stand here; hooks.py, state.py and transfer.py are mixed in.
"""

from __future__ import annotations

import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any, Self

import lucid
from lucid.nn import hooks
from lucid.nn.hooks import Hooked, call_with_hooks, global_calls
from lucid.nn.parameter import Buffer, Parameter
from lucid.nn.state import StateDict
from lucid.nn.transfer import Transfer
from lucid.tracing import change


class Module(Hooked, StateDict, Transfer):
    """Base class of layers and models: holds parameters, buffers and other modules by name.

    A subclass calls `super().__init__()`, assigns `Parameter`s and modules to attributes, and
    defines `forward`. Calling the module runs `forward` and the hooks; an exception that passes
    gets a note that says in which module, by its dotted path, it was raised.

    >>> import lucid
    >>> class Scale(lucid.nn.Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.factor = lucid.nn.Parameter(lucid.tensor(2.0))
    ...     def forward(self, x):
    ...         return x * self.factor
    >>> Scale()(lucid.tensor(3.0)).item()
    6.0
    """

    call_super_init: bool = False
    dump_patches: bool = False
    training: bool
    _changed: int

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if not self.call_super_init and (args or kwargs):
            self._refuse_arguments(args, kwargs)
        _set_up(self.__dict__)
        if self.call_super_init:
            super().__init__(*args, **kwargs)

    def _refuse_arguments(self, args: tuple, kwargs: dict[str, Any]) -> None:
        name = type(self).__name__
        if kwargs:
            raise TypeError(
                f"{name}.__init__() got an unexpected keyword argument '{next(iter(kwargs))}'"
            )
        raise TypeError(
            f"{name}.__init__() takes 1 positional argument but {len(args) + 1} were given"
        )

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        try:
            if self._hooked or global_calls:
                return call_with_hooks(self, args, kwargs)
            return self.forward(*args, **kwargs)
        except Exception as error:
            _note_path(error, self)
            raise

    def compile(self, **options: Any) -> None:
        """Calls of this module are calls of `lucid.compile(module, **options)` from now on.

        >>> import lucid
        >>> m = lucid.nn.Linear(2, 3)
        >>> m.compile()
        >>> m(lucid.zeros(1, 2)).shape
        lucid.Size([1, 3])
        """
        self.__dict__.update(_compiled=lucid.compile(self, **options), _hooked=True)
        self._bump()

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The computation; every subclass defines it."""
        raise NotImplementedError(
            f'Module [{type(self).__name__}] is missing the required "forward" function'
        )

    # ---- attributes -----------------------------------------------------------------------

    def __getattr__(self, name: str) -> Any:
        tables = self.__dict__
        if "_parameters" in tables:
            if name in (table := tables["_parameters"]):
                return table[name]
            if name in (table := tables["_modules"]):
                return table[name]
            if name in (table := tables["_buffers"]):
                return table[name]
        raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}'")

    def __setattr__(self, name: str, value: Any) -> None:
        tables = self.__dict__
        parameters = tables.get("_parameters")
        if isinstance(value, Parameter):
            self._check_ready(parameters, "parameters")
            self._forget(name, keep="_parameters")
            self.register_parameter(name, value)
        elif isinstance(value, Module):
            self._check_ready(tables.get("_modules"), "module")
            self._forget(name, keep="_modules")
            self.register_module(name, value)
        elif isinstance(value, Buffer):
            self._check_ready(tables.get("_buffers"), "buffers")
            self._forget(name, keep="_buffers")
            self.register_buffer(name, value, value.persistent)
        elif parameters is None:
            object.__setattr__(self, name, value)
            return
        elif name in parameters:
            if value is not None:
                raise TypeError(
                    f"cannot assign '{_type_name(value)}' as parameter '{name}' "
                    "(lucid.nn.Parameter or None expected)"
                )
            self.register_parameter(name, value)
        elif name in self._modules:
            if value is not None:
                raise TypeError(
                    f"cannot assign '{_type_name(value)}' as child module '{name}' "
                    "(lucid.nn.Module or None expected)"
                )
            self.register_module(name, None)
        elif name in self._buffers:
            if value is not None and not isinstance(value, lucid.Tensor):
                raise TypeError(
                    f"cannot assign '{_type_name(value)}' as buffer '{name}' "
                    "(lucid.nn.Buffer, lucid.Tensor or None expected)"
                )
            self.register_buffer(name, value, name not in self._non_persistent_buffers_set)
        else:
            object.__setattr__(self, name, value)
        self._bump()

    def __delattr__(self, name: str) -> None:
        for table in (self._parameters, self._modules, self._buffers):
            if name in table:
                del table[name]
                self._non_persistent_buffers_set.discard(name)
                break
        else:
            object.__delattr__(self, name)
        self._bump()

    def _bump(self) -> None:
        self.__dict__["_changed"] = change()

    def _check_ready(self, table: Any, what: str) -> None:
        if table is None:
            raise AttributeError(f"cannot assign {what} before Module.__init__() call")

    def _forget(self, name: str, keep: str) -> None:
        """Remove `name` wherever it stands, except that its place in table `keep` stays."""
        tables = self.__dict__
        tables.pop(name, None)
        for table in ("_parameters", "_buffers", "_modules"):
            if table != keep:
                tables[table].pop(name, None)
        tables["_non_persistent_buffers_set"].discard(name)

    def __dir__(self) -> list[str]:
        names = {*dir(type(self)), *self.__dict__}
        names |= {*self._parameters, *self._modules, *self._buffers}
        return sorted(name for name in names if not name[0].isdigit())

    def __setstate__(self, state: dict[str, Any]) -> None:
        _set_up(self.__dict__)
        self.__dict__.update(state)
        self.__dict__["_hooked"] = True  # found out at the first call
        self._bump()

    # ---- registration ---------------------------------------------------------------------

    def register_parameter(self, name: str, param: Parameter | None) -> None:
        """Add a parameter under `name`; None keeps the name, and its place, without a tensor."""
        self._check_ready(self.__dict__.get("_parameters"), "parameter")
        self._check_name("parameter", name, self._parameters)
        if param is not None and not isinstance(param, Parameter):
            raise TypeError(
                f"cannot assign '{_type_name(param)}' object to parameter '{name}' "
                "(lucid.nn.Parameter or None required)"
            )
        if param is not None and param.grad_fn is not None:
            raise ValueError(
                f"Cannot assign non-leaf Tensor to parameter '{name}'. Model parameters must be "
                f"created explicitly. To express '{name}' as a function of another Tensor, "
                "compute the value in the forward() method."
            )
        for hook in hooks.global_parameter_registration.values():
            replaced = hook(self, name, param)
            param = param if replaced is None else replaced
        self._parameters[name] = param
        self._bump()

    def register_buffer(
        self, name: str, tensor: lucid.Tensor | None, persistent: bool = True
    ) -> None:
        """Add a tensor that is no parameter under `name`, such as a running mean.

        `persistent=False` keeps it out of `state_dict()`.
        """
        self._check_ready(self.__dict__.get("_buffers"), "buffer")
        self._check_name("buffer", name, self._buffers)
        if tensor is not None and not isinstance(tensor, lucid.Tensor):
            raise TypeError(
                f"cannot assign '{_type_name(tensor)}' object to buffer '{name}' "
                "(lucid.Tensor or None required)"
            )
        for hook in hooks.global_buffer_registration.values():
            replaced = hook(self, name, tensor)
            tensor = tensor if replaced is None else replaced
        self._buffers[name] = tensor
        if persistent:
            self._non_persistent_buffers_set.discard(name)
        else:
            self._non_persistent_buffers_set.add(name)
        self._bump()

    def add_module(self, name: str, module: Module | None) -> None:
        """Add a child module under `name`."""
        self._check_ready(self.__dict__.get("_modules"), "module")
        if module is not None and not isinstance(module, Module):
            raise TypeError(f"{_type_name(module)} is not a Module subclass")
        self._check_name("module", name, self._modules)
        for hook in hooks.global_module_registration.values():
            replaced = hook(self, name, module)
            module = module if replaced is None else replaced
        self._modules[name] = module
        self._bump()

    def register_module(self, name: str, module: Module | None) -> None:
        """Add a child module under `name`; the same as `add_module`."""
        self.add_module(name, module)

    def _check_name(self, what: str, name: str, table: dict[str, Any]) -> None:
        if not isinstance(name, str):
            raise TypeError(f"{what} name should be a string. Got {_type_name(name)}")
        if "." in name:
            raise KeyError(f'{what} name can\'t contain ".", got: {name}')
        if name == "":
            raise KeyError(f'{what} name can\'t be empty string ""')
        if name not in table and hasattr(self, name):
            raise KeyError(f"attribute '{name}' already exists")

    # ---- look-up by dotted name -----------------------------------------------------------

    def get_submodule(self, target: str) -> Module:
        """The module at the dotted path `target`; "" is the module itself.

        Raises AttributeError that names the module at which the path ends.
        """
        module: Module = self
        for item in target.split(".") if target else ():
            if not hasattr(module, item):
                raise AttributeError(f"{module._get_name()} has no attribute `{item}`")
            module = getattr(module, item)
            if not isinstance(module, Module):
                raise AttributeError(f"`{item}` is not an nn.Module")
        return module

    def set_submodule(self, target: str, module: Module, strict: bool = False) -> None:
        """Put `module` at the dotted path `target`; `strict`: only where there is one already."""
        if not target:
            raise ValueError("Cannot set the submodule without a target name!")
        path, _, name = target.rpartition(".")
        parent = self.get_submodule(path)
        if not isinstance(module, Module):
            raise ValueError(f"`module` is not an nn.Module, found {type(module)}")
        if strict and not hasattr(parent, name):
            raise AttributeError(f"{parent._get_name()} has no attribute `{name}`")
        if hasattr(parent, name) and not isinstance(getattr(parent, name), Module):
            raise AttributeError(f"`{name}` is not an nn.Module")
        setattr(parent, name, module)

    def get_parameter(self, target: str) -> Parameter:
        """The parameter at the dotted path `target`; AttributeError where there is none."""
        return self._get_tensor(target, "_parameters", "an nn.Parameter")

    def get_buffer(self, target: str) -> lucid.Tensor:
        """The buffer at the dotted path `target`; AttributeError where there is none."""
        return self._get_tensor(target, "_buffers", "a buffer")

    def _get_tensor(self, target: str, table: str, what: str) -> Any:
        path, _, name = target.rpartition(".")
        module = self.get_submodule(path)
        if not hasattr(module, name):
            raise AttributeError(f"{module._get_name()} has no attribute `{name}`")
        if name not in getattr(module, table):
            raise AttributeError(f"`{name}` is not {what}")
        return getattr(module, name)

    # ---- traversal ------------------------------------------------------------------------

    def named_modules(
        self, memo: set[Any] | None = None, prefix: str = "", remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Module]]:
        """(dotted name, module) of this module, named `prefix`, and all below it."""
        memo = set() if memo is None else memo
        if self in memo:
            return
        if remove_duplicate:
            memo.add(self)
        yield prefix, self
        for name, module in self._modules.items():
            if module is not None:
                path = prefix + ("." if prefix else "") + name
                yield from module.named_modules(memo, path, remove_duplicate)

    def modules(self) -> Iterator[Module]:
        """This module and all below it, each once."""
        for _, module in self.named_modules():
            yield module

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """(name, module) of the direct children, each once."""
        seen: set[Module] = set()
        for name, module in self._modules.items():
            if module is not None and module not in seen:
                seen.add(module)
                yield name, module

    def children(self) -> Iterator[Module]:
        """The direct children, each once."""
        for _, module in self.named_children():
            yield module

    def _named_members(
        self,
        get_members_fn: Callable[[Module], Any],
        prefix: str = "",
        recurse: bool = True,
        remove_duplicate: bool = True,
    ) -> Iterator[tuple[str, Any]]:
        seen: set[Any] = set()
        modules = (
            self.named_modules(prefix=prefix, remove_duplicate=remove_duplicate)
            if recurse
            else [(prefix, self)]
        )
        for path, module in modules:
            for name, member in get_members_fn(module):
                if member is None or member in seen:
                    continue
                if remove_duplicate:
                    seen.add(member)
                yield path + ("." if path else "") + name, member

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Parameter]]:
        """(dotted name, parameter) of this module and, with `recurse`, of all below it."""
        yield from self._named_members(
            lambda module: module._parameters.items(), prefix, recurse, remove_duplicate
        )

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        """The parameters, each once: what an optimizer takes."""
        for _, parameter in self.named_parameters(recurse=recurse):
            yield parameter

    def named_buffers(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, lucid.Tensor]]:
        """(dotted name, buffer) of this module and, with `recurse`, of all below it."""
        yield from self._named_members(
            lambda module: module._buffers.items(), prefix, recurse, remove_duplicate
        )

    def buffers(self, recurse: bool = True) -> Iterator[lucid.Tensor]:
        """The buffers, each once."""
        for _, buffer in self.named_buffers(recurse=recurse):
            yield buffer

    def count_parameters(self, recurse: bool = True) -> int:
        """The number of elements of all parameters.

        >>> import lucid
        >>> lucid.nn.Linear(3, 4).count_parameters()
        16
        """
        return sum(parameter.numel() for parameter in self.parameters(recurse))

    @property
    def parameter_size(self) -> int:
        """The number of elements of all parameters of this module and those below it."""
        return self.count_parameters()

    # ---- modes ----------------------------------------------------------------------------

    def train(self, mode: bool = True) -> Self:
        """Set `training` of this module and all below it: dropout and batch norm look at it."""
        if not isinstance(mode, bool):
            raise ValueError("training mode is expected to be boolean")
        self.training = mode
        for module in self.children():
            module.train(mode)
        return self

    def eval(self) -> Self:
        """`train(False)`. Gradients are another matter: see `lucid.no_grad`."""
        return self.train(False)

    def apply(self, fn: Callable[[Module], Any]) -> Self:
        """Call `fn(module)` for every module below this one, children first, then for itself."""
        for module in self.children():
            module.apply(fn)
        fn(self)
        return self

    # ---- printing -------------------------------------------------------------------------

    def _get_name(self) -> str:
        return type(self).__name__

    def extra_repr(self) -> str:
        """What `repr` prints between the parentheses; override to show a layer's settings."""
        return ""

    def __repr__(self) -> str:
        extra = self.extra_repr()
        lines = extra.split("\n") if extra else []
        children = [f"({name}): {indented(repr(module))}" for name, module in self._modules.items()]
        if len(lines) == 1 and not children:
            return f"{self._get_name()}({lines[0]})"
        return framed(self._get_name(), lines + children)


def framed(name: str, lines: list[str]) -> str:
    """`name(...)` with each of `lines` on a line of its own."""
    return name + "(" + ("\n  " + "\n  ".join(lines) + "\n" if lines else "") + ")"


def indented(text: str) -> str:
    """`text` with all lines but the first moved two columns to the right."""
    return text.replace("\n", "\n  ")


def _set_up(tables: dict[str, Any]) -> None:
    """The tables of a new module, under the names that PyTorch's programs know."""
    tables.update(
        training=True,
        _parameters={},
        _buffers={},
        _non_persistent_buffers_set=set(),
        _modules={},
        _hooked=False,
        _changed=0,
        _is_full_backward_hook=None,
        _forward_pre_hooks=OrderedDict(),
        _forward_pre_hooks_with_kwargs=OrderedDict(),
        _forward_hooks=OrderedDict(),
        _forward_hooks_with_kwargs=OrderedDict(),
        _forward_hooks_always_called=OrderedDict(),
        _backward_pre_hooks=OrderedDict(),
        _backward_hooks=OrderedDict(),
        _state_dict_hooks=OrderedDict(),
        _state_dict_pre_hooks=OrderedDict(),
        _load_state_dict_pre_hooks=OrderedDict(),
        _load_state_dict_post_hooks=OrderedDict(),
    )


def _type_name(value: Any) -> str:
    """As PyTorch prints types in its errors: with the module's name, except for builtins."""
    kind = type(value)
    module = kind.__module__
    return kind.__qualname__ if module == "builtins" else f"{module}.{kind.__qualname__}"


_NOTE = "raised in module "


class _Path:
    """How far an exception came: the latest module, weakly held, and the path below it."""

    __slots__ = ("latest", "path", "inner")

    def __init__(self) -> None:
        self.latest: weakref.ref[Module] | None = None
        self.path = ""
        self.inner = ""

    def __reduce__(self) -> tuple:  # an exception that is pickled leaves its modules behind
        return _Path, ()


def _note_path(error: Exception, module: Module) -> None:
    """Note on `error` the dotted path of the module that raised it, seen from `module`.

    Each module that the exception passes puts its child's name in front of the path.
    """
    passed = error.__dict__.setdefault("_lucid_path", _Path())
    below = passed.latest() if passed.latest is not None else None
    if below is module:
        return  # the module called itself
    if below is None:
        passed.path, passed.inner = "", type(module).__name__
    else:
        name = next((n for n, m in module.named_modules() if m is below), type(below).__name__)
        passed.path = f"{name}.{passed.path}" if passed.path else name
    passed.latest = weakref.ref(module)
    where = f"{type(module).__name__}.{passed.path} ({passed.inner})"
    note = _NOTE + (where if passed.path else passed.inner)
    notes = getattr(error, "__notes__", None)
    if below is not None and notes and notes[-1].startswith(_NOTE):
        notes[-1] = note
    else:
        error.add_note(note)
