"""`torch._higher_order_ops.associative_scan`: can be named, raises when it is called."""

from lucid.compat.answers.refuse import refused

associative_scan = refused(
    "torch._higher_order_ops.associative_scan", "use lucid.scan, or torch.cumsum and its kin"
)
