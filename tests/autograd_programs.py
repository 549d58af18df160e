"""Small programs of autograd: hooks, writes, views, Functions, graphs used twice.

Each runs on a library of PyTorch's names and gives plain values, which test_autograd_programs.py
compares with those recorded from PyTorch (tests/tools/golden_autograd.py).
"""

# ruff: noqa: E731, B023

import copy


def programs(lib):
    """name -> function of nothing."""
    Function = lib.autograd.Function
    f64 = lib.float64
    found = {}

    def leaf(*values):
        return lib.tensor(values, dtype=f64, requires_grad=True)

    def program(function):
        found[function.__name__] = function
        return function

    @program
    def hooks_order():
        log = []
        x = leaf(1.0, 2.0)
        y = x * 2
        z = y * 3
        y.register_hook(lambda g: (log.append(("a", g.tolist())), g * 10)[1])
        y.register_hook(lambda g: (log.append(("b", g.tolist())), None)[1])
        y.retain_grad()
        y.register_hook(lambda g: (log.append(("c", g.tolist())), g + 1)[1])
        x.register_hook(lambda g: (log.append(("x", g.tolist())), g * 2)[1])
        x.register_post_accumulate_grad_hook(lambda t: log.append(("post", t.grad.tolist())))
        z.grad_fn.register_hook(
            lambda gi, go: log.append(("node", [None if g is None else g.tolist() for g in go]))
        )
        z.grad_fn.register_prehook(lambda go: log.append(("pre", [g.tolist() for g in go])))
        z.sum().backward()
        return log, y.grad.tolist(), x.grad.tolist()

    @program
    def hook_after_inplace():
        log = []
        x = leaf(1.0, 2.0)
        y = x * 2
        y.register_hook(lambda g: log.append(("old", g.tolist())))
        y.mul_(3)
        y.register_hook(lambda g: log.append(("new", g.tolist())))
        y.retain_grad()
        y.sum().backward()
        return log, y.grad.tolist(), x.grad.tolist()

    @program
    def hook_on_view_then_base_write():
        log = []
        x = leaf(1.0, 2.0)
        y = x * 2
        v = y[0]
        v.register_hook(lambda g: log.append(g.tolist()))
        y.mul_(3)
        (v * 2 + y.sum()).backward()
        return log, x.grad.tolist()

    @program
    def hook_removed_inside():
        log = []
        x = leaf(1.0)
        y = x * 2

        def h(g):
            log.append(g.tolist())
            hd.remove()

        hd = y.register_hook(h)
        y.backward(retain_graph=True)
        y.backward()
        return log

    @program
    def hooks_with_autograd_grad():
        log = []
        x = leaf(1.0, 2.0)
        y = x * 2
        z = (y * y).sum()
        y.register_hook(lambda g: (log.append(g.tolist()), g * 5)[1])
        x.register_hook(lambda g: (log.append(("x", g.tolist())), g * 7)[1])
        (a,) = lib.autograd.grad(z, y, retain_graph=True)
        (b,) = lib.autograd.grad(z, x)
        return log, a.tolist(), b.tolist()

    @program
    def grad_of_intermediate_and_leaf():
        x = leaf(1.0, 2.0)
        y = x * x
        z = (y * x).sum()
        return [g.tolist() for g in lib.autograd.grad(z, (y, x, y))]

    @program
    def retain_then_free():
        x = leaf(1.0)
        y = x.exp()
        z = y * y
        z.backward(retain_graph=True)
        z.backward()
        try:
            z.backward()
            return "no error"
        except RuntimeError:
            return x.grad.tolist()

    @program
    def shared_part_freed():
        x = leaf(1.0)
        y = x.exp()
        a = y * 2
        b = y * 3
        a.backward()
        try:
            b.backward()
            return "no error"
        except RuntimeError:
            return x.grad.tolist()

    @program
    def shared_linear_part_not_freed():
        x = leaf(1.0)
        y = x * 2
        a = y + 1
        b = y + 2
        a.backward()
        try:
            b.backward()
            return x.grad.tolist()
        except RuntimeError:
            return "error"

    @program
    def view_chain_writes():
        x = leaf(*range(6))
        b = (x * 1).view(2, 3)
        c = b.t()
        d = c[1:]
        d.mul_(b[0, 0] + 2)
        b[1].add_(c[:, 0])
        (b * b).sum().backward()
        return x.grad.tolist(), d.tolist()

    @program
    def write_then_view_grad_fn():
        x = leaf(1.0, 2.0, 3.0)
        y = x * 1
        v = y[:2]
        y[0] = v[1] * 5
        w = v * 2
        w.sum().backward()
        return x.grad.tolist(), w.tolist()

    @program
    def detach_view_write_error():
        x = leaf(1.0, 2.0)
        y = x * 1
        z = (y * y).sum()
        y.detach().mul_(2)
        try:
            z.backward()
            return "no error"
        except RuntimeError:
            return "error"

    @program
    def masked_writes():
        x = leaf(1.0, -2.0, 3.0)
        y = x.clone()
        y[y < 0] = 0.0
        y[lib.tensor([0, 2])] *= 2
        y[0] += y[2]
        (y**2).sum().backward()
        return x.grad.tolist()

    @program
    def write_of_other_history():
        x = leaf(1.0, 2.0)
        w = leaf(3.0)
        y = lib.zeros(2, dtype=f64)
        y[0] = w[0]
        y[1] = x[0] * w[0]
        y.mul_(x)
        y.sum().backward()
        return x.grad.tolist(), w.grad.tolist()

    @program
    def expanded_grads():
        x = leaf(1.0, 2.0)
        y = x.expand(3, 2)
        z = y.sum()
        z.backward()
        return x.grad.tolist()

    @program
    def no_grad_write_between():
        x = leaf(1.0, 2.0)
        y = x * 3
        with lib.no_grad():
            y.mul_(2)
        y.sum().backward()
        return x.grad.tolist(), y.tolist()

    @program
    def requires_grad_of_write_target():
        y = lib.zeros(3, dtype=f64)
        v = y[1:]
        x = leaf(1.0, 2.0)
        v.copy_(x)
        return (
            y.requires_grad,
            v.requires_grad,
            y.is_leaf,
            v._base is y if hasattr(v, "_base") else True,
        )

    @program
    def leaf_view_write_error():
        x = leaf(1.0, 2.0)
        out = []
        for f in (
            lambda: x.mul_(2),
            lambda: x[0].mul_(2),
            lambda: x.view(2)[0].fill_(1),
            lambda: x.detach().mul_(1) is None,
        ):
            try:
                f()
                out.append("ok")
            except RuntimeError:
                out.append("error")
        return out

    class Exp(Function):
        """It saves its output."""

        @staticmethod
        def forward(ctx, x):
            y = x.exp()
            ctx.save_for_backward(y)
            return y

        @staticmethod
        def backward(ctx, g):
            (y,) = ctx.saved_tensors
            return g * y

    @program
    def function_save_output():
        x = leaf(0.5, 1.0)
        y = Exp.apply(x)
        (g,) = lib.autograd.grad(y.sum(), x, create_graph=True)
        (h,) = lib.autograd.grad(g.sum(), x)
        return g.tolist(), h.tolist()

    @program
    def function_save_output_written():
        x = leaf(0.5, 1.0)
        y = Exp.apply(x)
        z = y.sum()
        y.mul_(2)
        try:
            z.backward()
            return "no error"
        except RuntimeError:
            return "error"

    @program
    def function_non_tensor_args():
        class M(Function):
            @staticmethod
            def forward(ctx, x, k, name, w=None):
                ctx.k = k
                ctx.n = name
                ctx.has = w is not None
                return x * k if w is None else x * k * w

            @staticmethod
            def backward(ctx, g):
                return g * ctx.k, None, None, (None if not ctx.has else g * 0 + 1)

        x = leaf(1.0, 2.0)
        w = leaf(3.0, 4.0)
        M.apply(x, 3, "s").sum().backward()
        a = x.grad.tolist()
        M.apply(x, 2, "t", w).sum().backward()
        return (
            a,
            x.grad.tolist(),
            w.grad.tolist(),
        )

    @program
    def function_needs_input_grad():
        seen = []

        class M(Function):
            @staticmethod
            def forward(ctx, x, k, w):
                ctx.save_for_backward(x, w)
                seen.append(tuple(ctx.needs_input_grad))
                return x * w

            @staticmethod
            def backward(ctx, g):
                x, w = ctx.saved_tensors
                seen.append(tuple(ctx.needs_input_grad))
                return g * w, None, g * x

        x = leaf(1.0, 2.0)
        w = lib.ones(2, dtype=f64)
        M.apply(x, 3, w).sum().backward()
        return seen, x.grad.tolist(), w.grad

    @program
    def function_mark_dirty_view():
        class D(Function):
            @staticmethod
            def forward(ctx, x):
                x.mul_(2)
                ctx.mark_dirty(x)
                return x

            @staticmethod
            def backward(ctx, g):
                return g * 2

        x = leaf(1.0, 2.0, 3.0)
        y = x * 1
        D.apply(y[:2])
        (y * y).sum().backward()
        return x.grad.tolist(), y.tolist()

    @program
    def function_mark_dirty_leaf():
        class D(Function):
            @staticmethod
            def forward(ctx, x):
                x.mul_(2)
                ctx.mark_dirty(x)
                return x

            @staticmethod
            def backward(ctx, g):
                return g * 2

        try:
            D.apply(leaf(1.0))
            return "ok"
        except RuntimeError:
            return "error"

    @program
    def function_materialize():
        out = []

        def make(flag):
            class Two(Function):
                @staticmethod
                def forward(ctx, x):
                    ctx.set_materialize_grads(flag)
                    return x * 2, x * 3

                @staticmethod
                def backward(ctx, a, b):
                    out.append((a is None, b is None, None if b is None else b.tolist()))
                    return a * 2 if b is None else a * 2 + b * 3

            return Two

        for flag in (True, False):
            x = leaf(1.0, 2.0)
            a, b = make(flag).apply(x)
            a.sum().backward()
            out.append(x.grad.tolist())
        return out

    @program
    def function_non_differentiable():
        class S(Function):
            @staticmethod
            def forward(ctx, x):
                i = x.argsort()
                y = x * 1
                m = x > 0
                ctx.mark_non_differentiable(i, m)
                return y, i, m

            @staticmethod
            def backward(ctx, g, gi, gm):
                return g

        x = leaf(2.0, 1.0)
        y, i, m = S.apply(x)
        y.sum().backward()
        return y.requires_grad, i.requires_grad, m.requires_grad, x.grad.tolist()

    @program
    def function_returns_input():
        class Same(Function):
            @staticmethod
            def forward(ctx, x):
                return x

            @staticmethod
            def backward(ctx, g):
                return g * 5

        x = leaf(1.0, 2.0)
        y = Same.apply(x)
        y.sum().backward()
        return y is x, x.grad.tolist(), x.is_leaf

    @program
    def function_returns_view():
        class V(Function):
            @staticmethod
            def forward(ctx, x):
                return x.view(2, 1)

            @staticmethod
            def backward(ctx, g):
                return g.view(2) * 5

        x = leaf(1.0, 2.0)
        y = V.apply(x)
        (y * y).sum().backward()
        return list(y.shape), x.grad.tolist()

    @program
    def function_returns_none_grad():
        class N(Function):
            @staticmethod
            def forward(ctx, x, w):
                return x * w

            @staticmethod
            def backward(ctx, g):
                return None, g

        x = leaf(1.0, 2.0)
        w = leaf(1.0, 1.0)
        N.apply(x, w).sum().backward()
        return x.grad is None, w.grad.tolist()

    @program
    def function_too_many_grads():
        class N(Function):
            @staticmethod
            def forward(ctx, x):
                return x * 2

            @staticmethod
            def backward(ctx, g):
                return g, None, None

        x = leaf(1.0)
        N.apply(x).backward()
        return x.grad.tolist()

    @program
    def function_too_few_grads():
        class N(Function):
            @staticmethod
            def forward(ctx, x, w):
                return x * w

            @staticmethod
            def backward(ctx, g):
                return g

        try:
            N.apply(leaf(1.0), leaf(2.0)).backward()
            return "ok"
        except RuntimeError:
            return "error"

    @program
    def function_nested():
        class A(Function):
            @staticmethod
            def forward(ctx, x):
                ctx.save_for_backward(x)
                return x.sin()

            @staticmethod
            def backward(ctx, g):
                (x,) = ctx.saved_tensors
                return B.apply(g, x)

        class B(Function):
            @staticmethod
            def forward(ctx, g, x):
                ctx.save_for_backward(g, x)
                return g * x.cos()

            @staticmethod
            def backward(ctx, h):
                g, x = ctx.saved_tensors
                return h * x.cos(), -h * g * x.sin()

        x = leaf(0.3, 0.6)
        (g,) = lib.autograd.grad(A.apply(x).sum(), x, create_graph=True)
        (h,) = lib.autograd.grad(g.sum(), x)
        return g.tolist(), h.tolist()

    @program
    def function_in_no_grad():
        class A(Function):
            @staticmethod
            def forward(ctx, x):
                ctx.save_for_backward(x)
                return x * 2

            @staticmethod
            def backward(ctx, g):
                return g

        x = leaf(1.0)
        with lib.no_grad():
            y = A.apply(x)
        return y.requires_grad, y.grad_fn

    @program
    def function_dtype_and_shape_of_grad():
        class A(Function):
            @staticmethod
            def forward(ctx, x):
                return x * 2

            @staticmethod
            def backward(ctx, g):
                return (g * 2).expand(3, 2).sum(0, keepdim=True)[0].to(lib.float32)

        x = leaf(1.0, 2.0)
        A.apply(x).sum().backward()
        return x.grad.tolist(), str(x.grad.dtype).split(".")[-1]

    @program
    def accumulate_into_grad_views():
        x = leaf(1.0, 2.0)
        (x * 2).sum().backward()
        g = x.grad
        (x * 3).sum().backward()
        return x.grad is g, g.tolist()

    @program
    def grad_assigned():
        x = leaf(1.0, 2.0)
        x.grad = lib.ones(2, dtype=f64)
        (x * 3).sum().backward()
        return x.grad.tolist()

    @program
    def create_graph_accumulates():
        x = leaf(2.0)
        (x**3).backward(create_graph=True)
        g = x.grad
        x.grad = None
        g.backward()
        return x.grad.tolist(), g.tolist()

    @program
    def grad_penalty():
        x = leaf(1.0, 2.0)
        w = leaf(0.5, -0.3)
        y = (x * w).tanh().sum()
        (g,) = lib.autograd.grad(y, x, create_graph=True)
        ((g.norm() - 1) ** 2).backward()
        return w.grad.tolist(), x.grad.tolist()

    @program
    def is_grads_batched():
        x = leaf(1.0, 2.0)
        y = x * x
        return lib.autograd.grad(y, x, lib.eye(2, dtype=f64), is_grads_batched=True)[0].tolist()

    @program
    def unused():
        x = leaf(1.0)
        w = leaf(2.0)
        out = []
        y = x * 2
        out.append(lib.autograd.grad(y, (x, w), allow_unused=True, retain_graph=True)[1])
        out.append(
            lib.autograd.grad(y, (x, w), materialize_grads=True, retain_graph=True)[1].tolist()
        )
        try:
            lib.autograd.grad(y, w)
            out.append("ok")
        except RuntimeError:
            out.append("error")
        return out

    @program
    def backward_inputs():
        x = leaf(1.0)
        w = leaf(2.0)
        y = x * w
        y.backward(inputs=[w])
        return x.grad, w.grad.tolist()

    @program
    def backward_inputs_nonleaf():
        x = leaf(1.0)
        y = x * 2
        z = y * 3
        z.backward(inputs=[y])
        return x.grad, y.grad.tolist()

    @program
    def scalar_and_complex():
        z = lib.tensor([1 + 2j, 3 - 1j], dtype=lib.complex128, requires_grad=True)
        (z.abs() ** 2).sum().backward()
        return [(c.real, c.imag) for c in z.grad.tolist()]

    @program
    def inplace_on_saved_output():
        x = leaf(1.0, 2.0)
        y = x.sigmoid()
        z = y.sum()
        y.add_(1)
        try:
            z.backward()
            return x.grad.tolist()
        except RuntimeError:
            return "error"

    @program
    def inplace_relu():
        x = leaf(-1.0, 2.0)
        y = x * 1
        lib.relu_(y) if hasattr(lib, "relu_") else y.relu_()
        y.sum().backward()
        return x.grad.tolist()

    @program
    def detach_inplace():
        x = leaf(1.0, 2.0)
        y = x * 2
        y.detach_()
        return y.requires_grad, y.is_leaf, y.grad_fn

    @program
    def hook_returning_wrong():
        x = leaf(1.0, 2.0)
        y = x * 2
        y.register_hook(lambda g: g.sum())
        try:
            y.sum().backward()
            return x.grad.tolist()
        except RuntimeError:
            return "error"

    @program
    def hooks_and_create_graph():
        x = leaf(2.0)
        y = x * x
        y.register_hook(lambda g: g * x)
        (g,) = lib.autograd.grad(y, x, create_graph=True)
        (h,) = lib.autograd.grad(g, x)
        return g.tolist(), h.tolist()

    @program
    def deepcopy_with_grad():
        x = leaf(1.0)
        (x * 2).backward()
        y = copy.deepcopy(x)
        out = [y.grad.tolist(), y.grad is x.grad]
        try:
            copy.deepcopy(x * 2)
            out.append("ok")
        except RuntimeError:
            out.append("error")
        return out

    @program
    def multi_output_unused():
        x = leaf(3.0, 1.0, 2.0)
        v, i = x.sort()
        u = x.unbind()
        (v[0] * 2 + u[1]).backward()
        return x.grad.tolist()

    @program
    def max_ties():
        x = leaf(1.0, 1.0, 0.0)
        x.max().backward()
        a = x.grad.tolist()
        x.grad = None
        x.max(0)[0].backward()
        b = x.grad.tolist()
        x.grad = None
        x.amax().backward()
        return a, b, x.grad.tolist()

    @program
    def checkpoint_twice():
        cp = lib.utils.checkpoint.checkpoint
        x = leaf(0.5)
        y = cp(lambda a: a.sin() * a, x, use_reentrant=False)
        (g,) = lib.autograd.grad(y, x, create_graph=True)
        (h,) = lib.autograd.grad(g, x)
        return g.tolist(), h.tolist()

    @program
    def saved_tensors_twice():
        class A(Function):
            @staticmethod
            def forward(ctx, x):
                ctx.save_for_backward(x)
                return x * 2

            @staticmethod
            def backward(ctx, g):
                (a,) = ctx.saved_tensors
                (b,) = ctx.saved_tensors
                return g * 2 * (a == b).all()

        x = leaf(1.0)
        y = A.apply(x)
        y.backward(retain_graph=True)
        y.backward()
        return x.grad.tolist()

    @program
    def function_kwargs():
        class A(Function):
            @staticmethod
            def forward(ctx, x, k=2):
                return x * k

            @staticmethod
            def backward(ctx, g, *r):
                return g

        try:
            return A.apply(leaf(1.0), k=3).tolist()
        except TypeError:
            return "TypeError"

    @program
    def function_output_inplace():
        class A(Function):
            @staticmethod
            def forward(ctx, x):
                return x * 2

            @staticmethod
            def backward(ctx, g):
                return g * 2

        x = leaf(1.0, 2.0)
        y = A.apply(x)
        y.mul_(3)
        y[0] = 7.0
        y.sum().backward()
        return x.grad.tolist()

    @program
    def function_list_input():
        class A(Function):
            @staticmethod
            def forward(ctx, xs, y):
                ctx.n = len(xs)
                return y * sum(float(x.sum()) for x in xs)

            @staticmethod
            def backward(ctx, g):
                return None, g

        y = leaf(1.0)
        A.apply([lib.ones(2)], y).backward()
        return y.grad.tolist()

    @program
    def grad_mode_in_backward():
        seen = []

        class A(Function):
            @staticmethod
            def forward(ctx, x):
                seen.append(lib.is_grad_enabled())
                return x * 2

            @staticmethod
            def backward(ctx, g):
                seen.append(lib.is_grad_enabled())
                return g * 2

        x = leaf(1.0)
        A.apply(x).backward()
        lib.autograd.grad(A.apply(x), x, create_graph=True)
        return seen

    @program
    def zero_dim_and_empty():
        x = lib.zeros(0, 3, dtype=f64, requires_grad=True)
        (x * 2).sum().backward()
        y = lib.tensor(2.0, requires_grad=True)
        (y * y).backward()
        return list(x.grad.shape), y.grad.tolist()

    @program
    def backward_nonscalar_error():
        try:
            (leaf(1.0, 2.0) * 2).backward()
            return "ok"
        except RuntimeError:
            return "error"

    @program
    def gradient_shape_mismatch():
        try:
            (leaf(1.0, 2.0) * 2).backward(lib.ones(3, dtype=f64))
            return "ok"
        except RuntimeError:
            return "error"

    @program
    def node_names():
        x = leaf(1.0, 2.0)
        return [t.grad_fn is None for t in (x,)], (x + 1).grad_fn.next_functions[0][0].variable is x

    return found
