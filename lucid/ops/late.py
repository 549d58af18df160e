"""Families of ops that load on first use: most programs never sort, factorise or transform.

tables.py names their functions, methods.py publishes them. A module of them takes a millisecond to
import, and there are thirty.
"""

import importlib
from collections.abc import Callable
from typing import Any

from lucid import op
from lucid.op import Op
from lucid.ops.forms import function_of


class Late:
    """A public function of a module that is imported when the function is first asked for."""

    __slots__ = ("attribute", "form", "found", "module")

    def __init__(self, module: str, attribute: str):
        self.module = module
        self.attribute = attribute
        self.form: Callable | None = None  # what makes the public function of it: `with_out`
        self.found: Any = None

    def __call__(self) -> Any:
        if self.found is None:
            found: Any = importlib.import_module(f"lucid.ops.{self.module}")
            for name in self.attribute.split("."):
                found = found[name] if isinstance(found, dict) else getattr(found, name)
            if isinstance(found, type) and issubclass(found, Op):
                found = function_of(found)
            self.found = found if self.form is None else self.form(found)
        return self.found


class Functions(dict):
    """Public functions by name; one of a late family is made when it is first looked up."""

    def __init__(self, functions: dict[str, Callable]):
        super().__init__(functions)
        self.late: dict[str, Callable[[], Callable]] = {}
        op.late.append(self.load)

    def __missing__(self, name: str) -> Callable:
        self[name] = made = self.late[name]()
        return made

    def load(self) -> None:
        """Make them all: for what looks through every op."""
        for name in self.late:
            self[name]


class Member:
    """A member of a class, in place of which another is put when it is first read."""

    __slots__ = ("make", "name", "owner")

    def __init__(self, owner: type, name: str, make: Callable[[], Any]):
        self.owner = owner
        self.name = name
        self.make = make

    def put(self) -> Any:
        """The member itself, from now on in the class."""
        made = self.make()
        setattr(self.owner, self.name, made)
        return made

    def __get__(self, x: Any, kind: type | None = None) -> Any:
        return self.put().__get__(x, kind)


class Reading(Member):
    """A property of a class, made when it is first read; like a property it cannot be set."""

    __slots__ = ()

    def __set__(self, x: Any, value: Any) -> None:
        self.put().__set__(x, value)
