"""`SparseTensor`: places and values. Everything that a dense tensor can do and it cannot, raises.

Made by make.py; arithmetic.py and multiply.py compute with it. For the rest of Lucid it is a
tensor without bytes, as those of a trace are: whatever op it is given to asks `Refuser`, which
names the op.
"""

from typing import Any, ClassVar, NoReturn

import lucid
from lucid.apply import CPU
from lucid.dtypes import dtype
from lucid.layout import Layout, contiguous_strides
from lucid.ops.gather import put_zeros

HELP = "is not defined for sparse tensors; .to_dense() makes a dense one"


def refuse(name: str) -> NoReturn:
    raise NotImplementedError(f"{name} {HELP}")


class Refuser:
    """What stands where a tensor of a trace has its trace: asked by every op that is called."""

    def add(self, op: Any, inputs: Any, params: tuple, everything: bool = False) -> Any:
        answer = ANSWERS.get(op.name)
        made = answer(inputs, params) if answer is not None else None
        return refuse(op.label) if made is None else made

    def write(self, op: Any, target: Any, inputs: Any, params: tuple, called: str) -> Any:
        return refuse(called)

    def written(self, op: Any, called: str, target: Any, inputs: Any) -> Any:
        """In the place of a plan's entry: what writes a sparse tensor into a dense target."""
        writer = WRITERS.get(op.name)
        return (
            refuse(f"{called} with a sparse tensor") if writer is None else writer(target, inputs)
        )

    def function(self, function: Any, args: tuple, kwargs: dict) -> Any:
        return refuse(function.__name__)

    def lifted(self, x: Any) -> Any:
        return refuse("a random function")


# name of an op -> (inputs, params) -> the result, None where it is refused; arithmetic.py and
# multiply.py add to it
ANSWERS: dict[str, Any] = {}
# name of an op -> (target, inputs) -> an entry as plans have: its last item has `run`
WRITERS: dict[str, Any] = {}
_refuser = Refuser()


class SparseTensor(lucid.Tensor):
    """A tensor of which only some elements are stored: `values[k]` stands at `indices[:, k]`.

    Of the size (s_1, .., s_n, d_1, .., d_m) with indices (n, nnz) and values (nnz, d_1, .., d_m);
    places that occur several times are added up. Made by `sparse_coo_tensor` and `to_sparse`.
    Gradients go to the values.

    >>> import lucid
    >>> x = lucid.sparse_coo_tensor([[0, 1], [2, 0]], [3.0, 4.0], (2, 3))
    >>> x
    tensor(indices=tensor([[0, 1],
                           [2, 0]]),
           values=tensor([3., 4.]),
           size=(2, 3), nnz=2, layout=sparse_coo)
    >>> (x @ lucid.ones(3, 1)).tolist()
    [[3.0], [4.0]]
    """

    _at: Any  # (n, nnz) int64
    _numbers: Any  # (nnz, ...)
    _coalesced: bool

    is_sparse: ClassVar[bool] = True  # type: ignore[assignment, misc]
    layout: ClassVar[str] = "sparse_coo"  # type: ignore[assignment, misc]

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        raise TypeError("SparseTensor: lucid.sparse_coo_tensor makes sparse tensors")

    # ---- parts ----------------------------------------------------------------------------

    def _indices(self) -> lucid.Tensor:
        return self._at

    def _values(self) -> lucid.Tensor:
        return self._numbers

    def _nnz(self) -> int:
        return int(self._numbers.shape[0])

    def indices(self) -> lucid.Tensor:
        """The places, (n, nnz), of a coalesced tensor."""
        return self._of_coalesced("indices", self._at)

    def values(self) -> lucid.Tensor:
        """The values, (nnz, ...), of a coalesced tensor."""
        return self._of_coalesced("values", self._numbers)

    def _of_coalesced(self, name: str, part: Any) -> Any:
        if not self._coalesced:
            raise RuntimeError(f"{name}: places may occur twice; call .coalesce() first")
        return part

    def sparse_dim(self) -> int:
        """How many dimensions the places have."""
        return int(self._at.shape[0])

    def dense_dim(self) -> int:
        """How many dimensions a value has."""
        return self._numbers.ndim - 1

    def is_coalesced(self) -> bool:
        """Whether every place occurs once, in order."""
        return self._coalesced

    def coalesce(self) -> "SparseTensor":
        """The same tensor with every place once, in row-major order."""
        if self._coalesced:
            return self
        if self._nnz() < 2:
            return build(self._at, self._numbers, tuple(self.shape), True)
        size = tuple(self.shape[: self.sparse_dim()])
        flat = self._at.new_zeros(self._nnz())
        for row, n in zip(self._at, size, strict=True):
            flat = flat * n + row
        places, inverse = lucid.unique(flat, return_inverse=True)
        values = put_zeros(self._numbers, [inverse], (len(places), *self._numbers.shape[1:]), 0)
        indices = lucid.stack(lucid.unravel_index(places, size)) if size else self._at[:, :1]
        return build(indices, values, tuple(self.shape), True)

    def to_dense(self, dtype: dtype | None = None) -> lucid.Tensor:
        """All elements, those that are not stored as zeros."""
        values = self._numbers if dtype is None else self._numbers.to(dtype)
        if not self.sparse_dim():
            return values.sum(0)
        return put_zeros(values, list(self._at.unbind(0)), tuple(self.shape), 0)

    def to_sparse(self, sparse_dim: int | None = None, *, layout: Any = None) -> "SparseTensor":
        """This tensor; a matrix in compressed rows with layout="sparse_csr"."""
        if layout == "sparse_csr" and sparse_dim is None:
            return self.to_sparse_csr()  # type: ignore[return-value]
        if layout not in (None, "sparse_coo"):
            return refuse(f"to_sparse to the layout {layout}")
        if sparse_dim not in (None, self.sparse_dim()):
            return refuse(f"to_sparse({sparse_dim})")
        return self

    def mapped(self, values: Any) -> "SparseTensor":
        """These places with other values."""
        size = (*self.shape[: self.sparse_dim()], *values.shape[1:])
        return build(self._at, values, size, self._coalesced)

    # ---- the same values elsewhere -----------------------------------------------------------

    def t(self) -> "SparseTensor":
        """A matrix with rows and columns exchanged."""
        if self.ndim != 2 or self.dense_dim():
            raise RuntimeError(f"t: a matrix is needed, got shape {tuple(self.shape)}")
        return build(self._at.flip(0), self._numbers, tuple(self.shape[::-1]), self._nnz() < 2)

    def transpose(self, dim0: int, dim1: int) -> "SparseTensor":
        """A matrix with rows and columns exchanged."""
        if self.ndim != 2 or sorted((dim0 % 2, dim1 % 2)) != [0, 1]:
            return refuse(f"transpose({dim0}, {dim1})")
        return self.t()

    @property
    def T(self) -> "SparseTensor":
        return self.t()

    def clone(self, memory_format: Any = None) -> "SparseTensor":
        """A copy, with its history."""
        made = self.mapped(self._numbers.clone())
        made._at = self._at.clone()
        return made

    def detach(self) -> "SparseTensor":
        """The same places and values, without history."""
        return self.mapped(self._numbers.detach())

    # ---- autograd ----------------------------------------------------------------------------

    def detach_(self) -> "SparseTensor":
        """Without history from now on."""
        self._numbers = self._numbers.detach()
        return self

    @property
    def requires_grad(self) -> bool:
        return self._numbers.requires_grad

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        self.requires_grad_(value)

    def requires_grad_(self, requires_grad: bool = True) -> "SparseTensor":
        """Whether operations on the values are recorded."""
        self._numbers.requires_grad_(requires_grad)
        return self

    @property
    def grad(self) -> Any:
        g = self._numbers.grad
        return None if g is None else self.mapped(g)

    @grad.setter
    def grad(self, value: Any) -> None:
        if value is not None:
            refuse("setting .grad to anything but None")
        self._numbers.grad = None

    @property
    def grad_fn(self) -> Any:
        return self._numbers.grad_fn

    @property
    def is_leaf(self) -> bool:
        return self._numbers.is_leaf

    @property
    def data(self) -> Any:
        return self.detach()

    @data.setter
    def data(self, value: Any) -> None:
        refuse("setting .data")

    # ---- Python ------------------------------------------------------------------------------

    def __len__(self) -> int:
        return int(self.shape[0])

    def __repr__(self) -> str:  # type: ignore[override]
        return described(self, {"indices": self._at, "values": self._numbers})

    def __format__(self, form: str) -> str:
        return format(repr(self), form)

    def __deepcopy__(self, memo: dict) -> "SparseTensor":
        if not self.is_leaf:
            raise RuntimeError("deepcopy: only leaves can be copied; detach() it first")
        made = self.detach().clone()
        return made.requires_grad_() if self.requires_grad else made

    def __reduce_ex__(self, protocol: Any) -> Any:
        at, values = self._at, self._numbers.detach()
        return _restored, (at, values, tuple(self.shape), self._coalesced, self.requires_grad)


def described(x: SparseTensor, parts: dict[str, Any]) -> str:
    """What is printed of a sparse tensor of these parts."""
    lines = []
    for name, part in parts.items():
        shown = f"{name}={part.detach()!r}".replace("\n", "\n" + " " * (len(name) + 1))
        lines.append(shown.replace("\n", "\n" + " " * 7))
    kind = "" if x.dtype is lucid.get_default_dtype() else f", dtype={x.dtype!r}"
    known = ", requires_grad=True" if x.requires_grad and x.is_leaf else ""
    known += f", grad_fn={x.grad_fn!r}" if x.grad_fn is not None else ""
    size = f"size={tuple(x.shape)}, nnz={x._nnz()}{kind}, layout={x.layout}{known}"
    return "tensor(" + ",\n       ".join([*lines, size]) + ")"


def build(
    indices: Any, values: Any, size: tuple, coalesced: bool, kind: type | None = None
) -> SparseTensor:
    """A sparse tensor of parts that fit; `kind` is another class than SparseTensor."""
    y: SparseTensor = object.__new__(kind or SparseTensor)
    size = tuple(int(n) for n in size)
    # A layout of its own, never interned: it hits no plan, so that every op asks the Refuser.
    y._layout = Layout(size, contiguous_strides(size), values.dtype, CPU)
    y._storage, y._ptr = None, 0
    y._requires_grad = False
    y._value = _refuser  # type: ignore[assignment]
    y._trace = _refuser  # type: ignore[attr-defined]
    y._at, y._numbers, y._coalesced = indices, values, coalesced
    return y


def _restored(at: Any, values: Any, size: tuple, coalesced: bool, grad: bool) -> SparseTensor:
    made = build(at, values, size, coalesced)
    return made.requires_grad_() if grad else made


KEPT = frozenset(
    "bfloat16 bool byte char cpu cuda device dim double dtype element_size float half int "
    "int_repr itemsize long name ndim ndimension nelement numel shape short size to to_mkldnn type "
    "type_as mps xpu".split()
)
REFUSED_DUNDERS = (
    "__getitem__ __setitem__ __iter__ __bool__ __float__ __int__ __index__ __complex__ __array__ "
    "__dlpack__ __contains__ __eq__ __ne__ __rtruediv__ __pow__ __imod__ __ipow__"
).split()


def _refusing(name: str) -> Any:
    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        return refuse(name)

    method.__name__ = name
    return method


def refuse_the_rest() -> None:
    """Every other method of tensors raises, naming itself; called once, when all of ours are in."""
    own = {name for name in vars(SparseTensor)}
    for name in dir(lucid.Tensor):
        hidden = name.startswith("_") and name not in REFUSED_DUNDERS
        if hidden or name in own or name in KEPT or name.startswith("is_"):
            continue
        if isinstance(getattr(lucid.Tensor, name), property):
            setattr(SparseTensor, name, property(_refusing(name)))
        elif callable(getattr(lucid.Tensor, name)):
            setattr(SparseTensor, name, _refusing(name))
    SparseTensor.__hash__ = object.__hash__  # type: ignore[method-assign]
