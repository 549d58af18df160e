"""Which modules of Lucid stand for each of PyTorch's. Called by finder.py.

The first one is asked first: a file of answers/, "" where there is none. Then, after PyTorch's own
submodules, the others in their order. A module of Lucid that does not exist has no names.
"""

_OWN = "lucid.compat.answers."
_NN = ("lucid.nn",)

MODULES: dict[str, tuple[str, ...]] = {
    "torch": (_OWN + "root", "lucid", _OWN + "numbers", _OWN + "functions"),
    "torch.nn": ("", "lucid.nn", _OWN + "parallel"),
    "torch.nn.functional": ("", "lucid.nn.functional"),
    "torch.nn.init": ("", "lucid.nn.init", _OWN + "old_names"),
    "torch.nn.modules.utils": (_OWN + "tuples",),
    "torch.nn.parallel": (_OWN + "parallel",),
    "torch.nn.parallel.distributed": (_OWN + "parallel",),
    "torch.nn.parallel.data_parallel": (_OWN + "parallel",),
    "torch.nn.parallel.scatter_gather": (_OWN + "parallel",),
    "torch.nn.attention": (_OWN + "attention",),
    "torch.nn.attention.flex_attention": (_OWN + "flex_attention",),
    "torch.nn.utils": ("", "lucid.nn.utils", _OWN + "old_names"),
    "torch.nn.utils.clip_grad": ("", "lucid.nn.utils", _OWN + "old_names"),
    "torch.nn.utils.convert_parameters": ("", "lucid.nn.utils"),
    "torch.nn.utils.fusion": ("lucid.nn.utils.fusion",),
    "torch.nn.utils.stateless": ("", "lucid.func"),
    "torch.optim.optimizer": ("", "lucid.optim.optimizer", "lucid.optim"),
    "torch.autograd": (_OWN + "autograd", "lucid.autograd"),
    "torch.autograd.variable": (_OWN + "autograd", "lucid.autograd"),
    "torch.autograd.functional": ("", "lucid.autograd.functional"),
    "torch.autograd.forward_ad": ("", "lucid.autograd.forward_ad"),
    "torch.autograd.grad_mode": ("", "lucid.autograd"),
    "torch.autograd.gradcheck": ("", "lucid.autograd"),
    "torch.autograd.graph": ("", "lucid.autograd.graph", _OWN + "autograd_graph"),
    "torch.autograd.profiler": (_OWN + "profiler",),
    "torch._higher_order_ops": ("lucid.func.control",),
    "torch._higher_order_ops.associative_scan": (_OWN + "scans",),
    "torch._higher_order_ops.cond": ("lucid.func.control",),
    "torch._higher_order_ops.scan": ("lucid.func.control",),
    "torch._higher_order_ops.while_loop": ("lucid.func.control",),
    "torch.accelerator": (_OWN + "accelerator",),
    "torch.amp": ("", "lucid.amp"),
    "torch.amp.autocast_mode": ("", "lucid.amp"),
    "torch.amp.grad_scaler": ("", "lucid.amp"),
    "torch.backends": (_OWN + "backends",),
    "torch.compiler": (_OWN + "compiler",),
    "torch.cuda": (_OWN + "cuda",),
    "torch.cuda.amp": (_OWN + "cuda_amp",),
    "torch.cuda.amp.autocast_mode": (_OWN + "cuda_amp",),
    "torch.cuda.amp.grad_scaler": (_OWN + "cuda_amp",),
    "torch.cuda.amp.common": (_OWN + "cuda_amp",),
    "torch.cuda.random": (_OWN + "cuda",),
    "torch.distributed": (_OWN + "distributed",),
    "torch.distributed._functional_collectives": (_OWN + "distributed_parts",),
    "torch.distributed._composable": ("", _OWN + "distributed_parts"),
    "torch.distributed._composable.fsdp": (_OWN + "distributed_parts",),
    "torch.distributed.fsdp": (_OWN + "distributed_parts",),
    "torch.distributed.checkpoint": (_OWN + "distributed_parts",),
    "torch.distributed.checkpoint.default_planner": (_OWN + "distributed_parts",),
    "torch.distributed.checkpoint.hf_storage": (_OWN + "distributed_parts",),
    "torch.distributed.checkpoint.state_dict": (_OWN + "distributed_parts",),
    "torch.distributed.device_mesh": (_OWN + "distributed_parts",),
    "torch.distributed.tensor": (_OWN + "distributed_parts",),
    "torch.distributed.tensor._utils": (_OWN + "distributed_parts",),
    "torch.distributed.tensor.placement_types": (_OWN + "distributed_parts",),
    "torch.distributions": ("", "lucid.distributions"),
    "torch.fft": ("", "lucid.fft"),
    "torch.func": ("", "lucid.func"),
    "torch.functional": (_OWN + "root", "lucid"),
    "torch.hub": (_OWN + "hub",),
    "torch.onnx": (_OWN + "onnx",),
    "torch.onnx.symbolic_helper": (_OWN + "onnx",),
    "torch.onnx.symbolic_opset9": ("", _OWN + "onnx"),
    "torch.onnx.symbolic_opset11": ("", _OWN + "onnx"),
    "torch.onnx.operators": ("", _OWN + "onnx"),
    "torch.fx": (_OWN + "fx",),
    "torch.fx.graph": (_OWN + "fx",),
    "torch.fx.graph_module": (_OWN + "fx",),
    "torch.fx.node": (_OWN + "fx",),
    "torch.fx.proxy": (_OWN + "fx",),
    "torch.ao": ("", _OWN + "quantization"),
    "torch.ao.quantization": (_OWN + "quantization",),
    "torch.quantization": (_OWN + "quantization",),
    "torch.library": (_OWN + "library",),
    "torch._custom_ops": (_OWN + "library",),
    "torch._C": (_OWN + "c_part",),
    "torch._dynamo": (_OWN + "dynamo",),
    "torch._dynamo.utils": (_OWN + "dynamo",),
    "torch._dynamo._trace_wrapped_higher_order_op": (_OWN + "dynamo",),
    "torch.jit": (_OWN + "jit",),
    "torch.jit.annotations": (_OWN + "jit",),
    "torch.linalg": ("", "lucid.linalg"),
    "torch.mps": (_OWN + "mps",),
    "torch.multiprocessing": (_OWN + "multiprocessing",),
    "torch.overrides": (_OWN + "overrides",),
    "torch.profiler": (_OWN + "profiler",),
    "torch.random": (_OWN + "random", "lucid"),
    "torch.serialization": (_OWN + "root",),
    "torch.masked": ("", "lucid.masked"),
    "torch.signal": ("", "lucid.signal"),
    "torch.signal.windows": ("", "lucid.signal.windows"),
    "torch.sparse": (_OWN + "sparse", "lucid.sparse"),
    "torch.special": ("", "lucid.special"),
    "torch.testing": (_OWN + "testing",),
    "torch.types": (_OWN + "types",),
    "torch.utils": ("", "lucid.utils"),
    "torch.utils.checkpoint": ("", "lucid.utils.checkpoint"),
    "torch.utils.data": ("", "lucid.data"),
    "torch.utils._pytree": (_OWN + "pytree",),
    "torch.utils.hooks": ("", "lucid.nn.hooks"),
    "torch.utils.model_zoo": (_OWN + "hub",),
    "torch.utils.tensorboard": ("lucid.utils.tensorboard",),
    "torch.utils.tensorboard.writer": ("lucid.utils.tensorboard",),
    "torch.version": (_OWN + "version",),
    "torch.xpu": (_OWN + "xpu",),
}

# Modules that only divide what another module has.
for _whole, _source, _parts in (
    ("torch.nn.parameter", _NN, ("",)),
    ("torch.nn.modules", _NN, (
        "", ".activation", ".adaptive", ".batchnorm", ".channelshuffle", ".container", ".conv",
        ".distance", ".dropout", ".flatten", ".fold", ".instancenorm", ".lazy", ".linear", ".loss",
        ".normalization", ".padding", ".pixelshuffle", ".pooling", ".rnn", ".sparse",
        ".transformer", ".upsampling",
    )),
    ("torch.nn.modules.module", ("lucid.nn.module", "lucid.nn.hooks", "lucid.nn"), ("",)),
    ("torch.nn.modules._functions", (), ()),
    ("torch.nn.utils.rnn", ("lucid.nn.utils.rnn",), ("",)),
    ("torch.nn.utils.parametrize", ("lucid.nn.utils.parametrize",), ("",)),
    ("torch.nn.utils.parametrizations", ("lucid.nn.utils.parametrizations",), ("",)),
    ("torch.nn.utils.prune", ("lucid.nn.utils.prune",), ("",)),
    ("torch.optim", ("lucid.optim",), (
        "", ".adadelta", ".adagrad", ".adam", ".adamax", ".adamw", ".asgd", ".lbfgs", ".nadam",
        ".radam", ".rmsprop", ".rprop", ".sgd", ".sparse_adam",
    )),
    ("torch.optim.lr_scheduler", ("lucid.optim.lr_scheduler",), ("",)),
    ("torch.optim.swa_utils", ("lucid.optim.swa_utils",), ("",)),
    ("torch.autograd.function", ("lucid.autograd",), ("",)),
    ("torch.backends", (_OWN + "backends",), (
        ".cpu", ".cuda", ".cudnn", ".mkl", ".mkldnn", ".mps", ".openmp", ".opt_einsum", ".xnnpack",
    )),
    ("torch.distributions", ("lucid.distributions",), (
        ".bernoulli", ".beta", ".binomial", ".categorical", ".cauchy", ".chi2",
        ".constraint_registry", ".constraints", ".continuous_bernoulli", ".dirichlet",
        ".distribution", ".exp_family", ".exponential", ".fishersnedecor", ".gamma",
        ".generalized_pareto", ".geometric", ".gumbel", ".half_cauchy", ".half_normal",
        ".independent", ".inverse_gamma", ".kl", ".kumaraswamy", ".laplace", ".lkj_cholesky",
        ".log_normal", ".logistic_normal", ".lowrank_multivariate_normal", ".mixture_same_family",
        ".multinomial", ".multivariate_normal", ".negative_binomial", ".normal",
        ".one_hot_categorical", ".pareto", ".poisson", ".relaxed_bernoulli",
        ".relaxed_categorical", ".studentT", ".transformed_distribution", ".transforms",
        ".uniform", ".utils", ".von_mises", ".weibull", ".wishart",
    )),
    ("torch.utils.data", ("lucid.data",), (
        ".dataloader", ".dataset", ".distributed", ".sampler", "._utils.collate",
    )),
):  # fmt: skip
    for _part in _parts:
        # lucid.nn.conv has what is not public in torch.nn.modules.conv, such as base classes
        _near = [
            one + _part for one in _source[-1:] if _part and one in ("lucid.nn", "lucid.optim")
        ]
        # lucid.distributions.independent is a file, and a function of its constraints
        _first = [one + _part for one in _source if _part and one == "lucid.distributions"]
        MODULES.setdefault(_whole + _part, ("", *_first, *_source, *_near))
for _part in ("cpu", "cuda", "cudnn", "mkl", "mkldnn", "mps", "openmp", "opt_einsum", "xnnpack"):
    MODULES[f"torch.backends.{_part}"] = (f"{_OWN}backend_{_part}",)
MODULES["torch.utils.data._utils"] = ("", "lucid.data")
MODULES["torch.utils.data._utils.worker"] = ("lucid.data.worker",)

# Modules that are there where one of these libraries is.
NEEDS = dict.fromkeys(
    ("torch.utils.tensorboard", "torch.utils.tensorboard.writer"), ("tensorboardX", "tensorboard")
)
# Modules that programs import and Lucid does without, with the reason.
REFUSED = {
    "torch.utils.cpp_extension": "Lucid builds no C++; write the op in Python",
    "torch.export": "Lucid exports no programs",
    "torch.package": "Lucid has no torch.package",
    "torch._inductor": "Lucid has a compiler of its own: lucid.compile",
    "torch.nested": "Lucid has no nested tensors",
}
