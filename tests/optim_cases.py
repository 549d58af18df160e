"""Cases of optimizers and schedulers, for tools/golden_optim.py and test_optim_golden.py.

Each runs on any library with PyTorch's names: three steps on given gradients, or of a closure.
"""

import numpy as np

SHAPES = [(3, 4), (5,), (4, 2)]
STEPS = 3
COMMON = [dict(), dict(weight_decay=0.1), dict(maximize=True)]

# name -> (class, options)
CASES: dict[str, tuple[str, dict]] = {}


def _add(kind, *options):
    for i, each in enumerate(options):
        CASES[f"{kind}.{i}"] = (kind, each)


_add("SGD", *COMMON, dict(lr=0.1, momentum=0.9, dampening=0.3),
     dict(lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.1))  # fmt: skip
_add("Adam", *COMMON, dict(amsgrad=True, betas=(0.8, 0.9)),
     dict(weight_decay=0.1, decoupled_weight_decay=True))  # fmt: skip
_add("AdamW", *COMMON, dict(amsgrad=True, eps=1e-3))
_add("Adamax", *COMMON, dict(betas=(0.5, 0.6), eps=1e-2))
_add(
    "NAdam", *COMMON, dict(momentum_decay=0.3), dict(weight_decay=0.1, decoupled_weight_decay=True)
)
_add("RAdam", *COMMON, dict(betas=(0.9, 0.3)), dict(weight_decay=0.1, decoupled_weight_decay=True),
     dict(betas=(0.9, 0.85)))  # fmt: skip
_add("Adagrad", *COMMON, dict(lr_decay=0.5, initial_accumulator_value=0.2))
_add("Adadelta", *COMMON, dict(rho=0.5, eps=1e-2))
_add("Adafactor", *COMMON, dict(eps=(1e-3, 1e-2), d=1.5, beta2_decay=-0.5), dict(lr=1.0))
_add("RMSprop", *COMMON, dict(centered=True), dict(momentum=0.7), dict(alpha=0.5, centered=True,
     momentum=0.3, weight_decay=0.1))  # fmt: skip
_add("Rprop", dict(), dict(maximize=True), dict(etas=(0.3, 1.7), step_sizes=(0.009, 0.012)))
_add("ASGD", *COMMON, dict(t0=1, lambd=0.1, alpha=0.5))
_add("Muon", dict(), dict(nesterov=False, adjust_lr_fn="match_rms_adamw"), dict(ns_steps=2))
_add("LBFGS", dict(max_iter=4), dict(max_iter=8, history_size=2, lr=0.5),
     dict(line_search_fn="strong_wolfe", max_iter=3))  # fmt: skip


def inputs(kind):
    """Start values and, for three steps, gradients, as arrays."""
    rng = np.random.default_rng(7)
    shapes = [shape for shape in SHAPES if kind != "Muon" or len(shape) == 2]
    # Where it stops depends on rounding, which is to be far below its tolerances.
    dtype = np.float64 if kind == "LBFGS" else np.float32
    values = [rng.standard_normal(s).astype(dtype) for s in shapes]
    grads = [[rng.standard_normal(s).astype(dtype) for s in shapes] for _ in range(STEPS)]
    return values, grads


def objective(params):
    """A smooth function with one minimum, badly scaled."""
    total = 0.0
    for i, p in enumerate(params):
        total = total + ((p - 0.5) ** 2 * (i + 1)).sum() + ((p * 0.7 + 0.1) ** 4).sum()
    return total


def run(library, kind, options, *, wrap=None, state=None, start=None, steps=range(STEPS)):
    """The parameters after these steps, and the optimizer."""
    values, grads = inputs(kind)
    values = values if start is None else start
    params = [library.nn.Parameter(library.tensor(v)) for v in values]
    optimizer = getattr(library.optim, kind)(params, **options)
    if state is not None:
        optimizer.load_state_dict(state)
    for step in steps:
        if kind == "LBFGS":

            def closure():
                optimizer.zero_grad()
                loss = objective(params)
                loss.backward()
                return loss

            optimizer.step(closure)
            continue
        for p, g in zip(params, grads[step], strict=True):
            p.grad = library.tensor(g)
        optimizer.step()
    return [p.detach().numpy() for p in params], optimizer


def flat_state(optimizer, library):
    """The state's tensors and numbers by name, as arrays."""
    found = {}
    for number, state in optimizer.state_dict()["state"].items():
        for key, value in state.items():
            values = value if isinstance(value, list) else [value]
            for i, each in enumerate(values):
                name = f"{number}.{key}" + (f".{i}" if isinstance(value, list) else "")
                if isinstance(each, library.Tensor):
                    found[name] = each.detach().numpy()
                elif isinstance(each, int | float):
                    found[name] = np.float64(each)
    return found


SCHEDULERS = {
    "Lambda": ("LambdaLR", dict(lr_lambda=lambda epoch: 0.9**epoch), {}),
    "Multiplicative": ("MultiplicativeLR", dict(lr_lambda=lambda epoch: 0.9 + 0.01 * epoch), {}),
    "Step": ("StepLR", dict(step_size=3, gamma=0.5), {}),
    "MultiStep": ("MultiStepLR", dict(milestones=[2, 5, 5], gamma=0.5), {}),
    "Constant": ("ConstantLR", dict(factor=0.5, total_iters=4), {}),
    "Linear": ("LinearLR", dict(start_factor=0.2, end_factor=0.9, total_iters=5), {}),
    "Exponential": ("ExponentialLR", dict(gamma=0.8), {}),
    "Polynomial": ("PolynomialLR", dict(total_iters=6, power=2.0), {}),
    "Cosine": ("CosineAnnealingLR", dict(T_max=4, eta_min=0.01), {}),
    "Restarts": ("CosineAnnealingWarmRestarts", dict(T_0=3, T_mult=2, eta_min=0.01), {}),
    "Cyclic": ("CyclicLR", dict(base_lr=0.1, max_lr=0.5, step_size_up=3), {}),
    "Cyclic2": ("CyclicLR", dict(base_lr=0.1, max_lr=[0.5, 0.7], step_size_up=2, step_size_down=3,
                mode="triangular2"), {}),
    "CyclicExp": ("CyclicLR", dict(base_lr=0.1, max_lr=0.5, step_size_up=2, mode="exp_range",
                  gamma=0.9, cycle_momentum=False), {}),
    "CyclicOwn": ("CyclicLR", dict(base_lr=0.1, max_lr=0.5, step_size_up=2, scale_mode="iterations",
                  scale_fn=lambda x: 1 / (x + 1)), {}),
    "OneCycle": ("OneCycleLR", dict(max_lr=0.5, total_steps=13), {}),
    "OneCycle3": ("OneCycleLR", dict(max_lr=[0.5, 1.0], epochs=3, steps_per_epoch=5,
                  three_phase=True, anneal_strategy="linear", pct_start=0.4), {}),
    "SWA": ("SWALR", dict(swa_lr=0.02, anneal_epochs=5), {}),
    "SWALinear": ("SWALR", dict(swa_lr=[0.02, 0.3], anneal_epochs=3, anneal_strategy="linear"), {}),
}  # fmt: skip
OPTIMIZERS = {"SGD": dict(lr=0.1, momentum=0.9), "Adam": dict(lr=0.1)}
EPOCHS = 12


def rates(library, name, optimizer_name):
    """Rates and momenta of two groups over the epochs, one row for each."""
    kind, options, _ = SCHEDULERS[name]
    params = [library.nn.Parameter(library.zeros(1)) for _ in range(2)]
    groups = [{"params": [params[0]]}, {"params": [params[1]], "lr": 0.3}]
    optimizer = getattr(library.optim, optimizer_name)(groups, **OPTIMIZERS[optimizer_name])
    found = []
    if kind == "SWALR":
        scheduler = library.optim.swa_utils.SWALR(optimizer, **options)
    else:
        scheduler = getattr(library.optim.lr_scheduler, kind)(optimizer, **options)
    for _ in range(EPOCHS):
        row = []
        for group in optimizer.param_groups:
            momentum = group["momentum"] if "momentum" in group else group["betas"][0]
            row += [float(group["lr"]), float(momentum)]
        found.append(row)
        optimizer.step()
        scheduler.step()
    return np.asarray(found), scheduler
