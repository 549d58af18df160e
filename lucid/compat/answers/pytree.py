"""`torch.utils._pytree`: nests of containers taken apart into leaves, which libraries import.

Called by finder.py. A class is a container once `register_pytree_node` was called with it.
"""

import dataclasses
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple


class _Node(NamedTuple):
    """How a class is taken apart (into items and what else is needed) and put together."""

    flatten: Callable[[Any], tuple[Iterable[Any], Any]]
    unflatten: Callable[[Iterable[Any], Any], Any]


_Mark = tuple[type, ...] | type | Callable[[Any], bool]
_nodes: dict[type, _Node] = {
    list: _Node(lambda x: (x, None), lambda items, context: list(items)),
    tuple: _Node(lambda x: (x, None), lambda items, context: tuple(items)),
    dict: _Node(
        lambda x: (list(x.values()), list(x)),
        lambda items, context: dict(zip(context, items, strict=True)),
    ),
    OrderedDict: _Node(
        lambda x: (list(x.values()), list(x)),
        lambda items, context: OrderedDict(zip(context, items, strict=True)),
    ),
    defaultdict: _Node(
        lambda x: (list(x.values()), (x.default_factory, list(x))),
        lambda items, context: defaultdict(context[0], zip(context[1], items, strict=True)),
    ),
    deque: _Node(lambda x: (list(x), x.maxlen), deque),
}
_named = _Node(lambda x: (list(x), type(x)), lambda items, context: context(*items))


@dataclasses.dataclass(frozen=True)
class TreeSpec:
    """The form of a nest: a class, what else it needs, the forms of its items; None for a leaf."""

    type: Any
    context: Any
    children_specs: list["TreeSpec"]

    def is_leaf(self) -> bool:
        return self.type is None

    @property
    def num_nodes(self) -> int:
        return 1 + sum(child.num_nodes for child in self.children_specs)

    @property
    def num_leaves(self) -> int:
        return 1 if self.is_leaf() else sum(child.num_leaves for child in self.children_specs)

    @property
    def num_children(self) -> int:
        return len(self.children_specs)


def LeafSpec() -> TreeSpec:
    """The form of a leaf."""
    return TreeSpec(None, None, [])


def _node_of(tree: Any) -> tuple[Any, _Node | None]:
    kind = type(tree)
    if kind in _nodes:
        return kind, _nodes[kind]
    if isinstance(tree, tuple) and hasattr(kind, "_fields"):
        return kind, _named
    return None, None


def tree_flatten(
    tree: Any, is_leaf: Callable[[Any], bool] | None = None
) -> tuple[list[Any], TreeSpec]:
    """The leaves in order, and the form."""
    leaves: list[Any] = []
    return leaves, _flatten(tree, is_leaf, leaves)


def _flatten(tree: Any, is_leaf: Callable[[Any], bool] | None, leaves: list[Any]) -> TreeSpec:
    kind, node = (None, None) if is_leaf is not None and is_leaf(tree) else _node_of(tree)
    if node is None:
        leaves.append(tree)
        return LeafSpec()
    items, context = node.flatten(tree)
    return TreeSpec(kind, context, [_flatten(item, is_leaf, leaves) for item in items])


def tree_unflatten(leaves: Iterable[Any], treespec: TreeSpec) -> Any:
    """The nest of this form with these leaves."""
    listed = list(leaves)
    if len(listed) != treespec.num_leaves:
        raise ValueError(
            f"tree_unflatten: {len(listed)} leaves for a form of {treespec.num_leaves}"
        )
    rest = iter(listed)

    def build(spec: TreeSpec) -> Any:
        if spec.is_leaf():
            return next(rest)
        node = _nodes.get(spec.type, _named)
        return node.unflatten([build(child) for child in spec.children_specs], spec.context)

    return build(treespec)


def tree_leaves(tree: Any, is_leaf: Callable[[Any], bool] | None = None) -> list[Any]:
    return tree_flatten(tree, is_leaf)[0]


def tree_iter(tree: Any, is_leaf: Callable[[Any], bool] | None = None) -> Iterable[Any]:
    return iter(tree_leaves(tree, is_leaf))


def tree_structure(tree: Any, is_leaf: Callable[[Any], bool] | None = None) -> TreeSpec:
    return tree_flatten(tree, is_leaf)[1]


def tree_map(
    func: Callable[..., Any], tree: Any, *rests: Any,
    is_leaf: Callable[[Any], bool] | None = None,
) -> Any:  # fmt: skip
    """The same nest with func(leaf) for each leaf; with the leaves of `rests`, of the same form."""
    leaves, spec = tree_flatten(tree, is_leaf)
    columns = [leaves]
    for rest in rests:
        others, form = tree_flatten(rest, is_leaf)
        if form != spec:
            raise ValueError(f"tree_map: the forms differ: {spec} and {form}")
        columns.append(others)
    return tree_unflatten([func(*each) for each in zip(*columns, strict=True)], spec)


def tree_map_(func: Callable[..., Any], tree: Any, *rests: Any, **options: Any) -> Any:
    """`tree_map` for what `func` does; the nest itself is returned."""
    tree_map(func, tree, *rests, **options)
    return tree


def _matches(mark: _Mark) -> Callable[[Any], bool]:
    if isinstance(mark, (type, tuple)):
        return lambda x: isinstance(x, mark)
    return mark


def tree_map_only(
    type_or_types_or_pred: _Mark, func: Callable[[Any], Any], tree: Any,
    is_leaf: Callable[[Any], bool] | None = None,
) -> Any:  # fmt: skip
    """`tree_map` on the leaves of these types; the others stay."""
    marked = _matches(type_or_types_or_pred)
    return tree_map(lambda x: func(x) if marked(x) else x, tree, is_leaf=is_leaf)


def tree_all(pred: Callable[[Any], bool], tree: Any) -> bool:
    return all(map(pred, tree_leaves(tree)))


def tree_any(pred: Callable[[Any], bool], tree: Any) -> bool:
    return any(map(pred, tree_leaves(tree)))


def tree_all_only(kind: _Mark, pred: Callable[[Any], bool], tree: Any) -> bool:
    marked = _matches(kind)
    return all(pred(leaf) for leaf in tree_leaves(tree) if marked(leaf))


def tree_any_only(kind: _Mark, pred: Callable[[Any], bool], tree: Any) -> bool:
    marked = _matches(kind)
    return any(pred(leaf) for leaf in tree_leaves(tree) if marked(leaf))


def register_pytree_node(
    cls: type, flatten_fn: Callable[[Any], tuple[Iterable[Any], Any]],
    unflatten_fn: Callable[[Iterable[Any], Any], Any], **names: Any,
) -> None:  # fmt: skip
    """Make a class a container. The further arguments name it for exported programs, which Lucid
    has not."""
    if cls in _nodes:
        raise ValueError(f"{cls} is already registered as pytree node")
    _nodes[cls] = _Node(flatten_fn, unflatten_fn)


def _register_pytree_node(cls: type, flatten_fn: Any, unflatten_fn: Any, **names: Any) -> None:
    if cls not in _nodes:
        register_pytree_node(cls, flatten_fn, unflatten_fn)


def _dict_flatten(d: dict) -> tuple[list[Any], list[Any]]:
    return list(d.values()), list(d)


def _dict_unflatten(values: Iterable[Any], context: list[Any]) -> dict:
    return dict(zip(context, values, strict=True))


def _dict_flatten_with_keys(d: dict) -> tuple[list[tuple[Any, Any]], list[Any]]:
    return [(("key", key), value) for key, value in d.items()], list(d)
