"""Which functions of the late families are public: `methods` are also methods of Tensor.

ops/methods.py reads the tables when it attaches everything; late.py says what a late family is.
"""

from lucid.ops.late import Late


def _of(module: str, names: str) -> dict[str, Late]:
    return {name: Late(module, name) for name in names.split()}


def _as(module: str, **attributes: str) -> dict[str, Late]:
    """Names that are others in their module."""
    return {name: Late(module, attribute) for name, attribute in attributes.items()}


def _in(table: str, names: str) -> dict[str, Late]:
    """Names of a table of a module."""
    module, _, attribute = table.partition(".")
    return {name: Late(module, f"{attribute}.{name}") for name in names.split()}


# Elementwise records: functions, methods and in-place methods.
elementwise: dict[str, Late] = {
    **_of("gamma", "lgamma digamma"),
    **_of("bessel", "i0 i0e i1 i1e"),
    **_of("numeric", "signbit isposinf isneginf deg2rad rad2deg sinc logit logaddexp2 nextafter"),
}
# With `out=` where PyTorch has it: the result is computed, then written.
with_out: dict[str, Late] = {
    **_of("founding", "clip"),
    **_of("sort", "sort argsort msort topk kthvalue median nanmedian mode quantile nanquantile"),
    **_of("running", "cummax cummin logcumsumexp"),
    **_of("search", "take_along_dim multinomial"),
    **_of("unique", "histc histogram"),
    **_of("scatter", "scatter_reduce"),
    **_of("places", "take"),
    **_of("numeric", "frexp ldexp float_power gcd lcm"),
    **_of("calculus", "diff nansum nanmean cov corrcoef dist renorm index_reduce"),
    **_of("products", "addmv addr addbmm inner vdot kron cross"),
    **_of("parts", "diag_embed masked_scatter"),
    **_of("linalg", "cholesky_solve cholesky_inverse slogdet logdet det matrix_exp matrix_power"),
    **_of("gamma_incomplete", "igamma igammac"),
    **_as("linalg", inverse="inv", pinverse="pinv"),
    **_as("linalg_legacy", cholesky="cholesky_of", qr="qr_of", svd="svd_of"),
    **_of("linalg_legacy", "symeig triangular_solve"),
    **_as("lu", lu="lu_of", lu_solve="lu_solve_of"),
}
methods: dict[str, Late] = {
    **_of("ldl", "geqrf ormqr"),
    **_of("unique", "unique unique_consecutive bincount"),
    **_of("places", "argwhere"),
    **_of("numeric", "rsub isreal mvlgamma"),
    **_of(
        "parts",
        "hsplit vsplit dsplit split_with_sizes unsafe_split unsafe_chunk fliplr flipud rot90 "
        "diagflat sum_to_size diagonal_scatter select_scatter slice_scatter as_strided_scatter put",
    ),
    **_in(
        "parts.copies",
        "alias_copy as_strided_copy diagonal_copy expand_copy narrow_copy permute_copy "
        "split_with_sizes_copy squeeze_copy t_copy transpose_copy unbind_copy unfold_copy "
        "unsqueeze_copy view_copy",
    ),
    **_of("legacy", "fill"),
    **_of("founding", "cube expand_dims pad"),
    **_of("stft", "stft istft"),
    **_of("complex", "angle conj sgn"),
    **_as("complex", conj_physical="conj", resolve_conj="resolve", resolve_neg="resolve"),
}
# With `out=`, and no methods.
creators: dict[str, Late] = {
    **_of("search", "searchsorted bucketize isin"),
    **_of("unique", "nonzero_static"),
    **_of("gamma", "polygamma"),
    **_of("parts", "column_stack dstack"),
    **_of("calculus", "logspace"),
    **_of("products", "chain_matmul"),
}
# These take `out=` besides, wherever they stand.
WITH_OUT = (
    "addcmul addcdiv angle arange as_strided_copy alias_copy complex conj_physical diag "
    "diagonal_copy expand_copy eye gather hash_tensor hstack index_add index_copy index_select "
    "linspace log_softmax masked_select mvlgamma nan_to_num narrow_copy nonzero ormqr "
    "permute_copy polar row_stack scatter scatter_add sgn slice_scatter softmax squeeze_copy "
    "t_copy transpose_copy tril triu unsqueeze_copy view_copy vstack where"
)
# Without `out=`, and no methods.
functions: dict[str, Late] = {
    **_of(
        "parts",
        "atleast_1d atleast_2d atleast_3d block_diag tril_indices triu_indices cartesian_prod "
        "combinations unravel_index broadcast_shapes constant_pad_nd",
    ),
    **_of("calculus", "trapezoid cumulative_trapezoid gradient cdist"),
    **_of("hash", "hash_tensor"),
    **_of("unique", "histogramdd"),
    **_of("draws_counts", "poisson binomial"),
    **_of("draws_gamma", "_standard_gamma"),
    **_of("legacy", "set_default_tensor_type scalar_tensor empty_strided empty_permuted"),
    **_of("windows", "hann_window hamming_window blackman_window bartlett_window kaiser_window"),
    **_in(
        "legacy.constructors",
        "FloatTensor DoubleTensor HalfTensor BFloat16Tensor ByteTensor CharTensor ShortTensor "
        "IntTensor LongTensor BoolTensor",
    ),
    **_of("complex", "polar view_as_real view_as_complex is_complex real imag"),
    **_as("complex", complex="complex_of"),
    **_of("linalg_legacy", "svd_lowrank pca_lowrank"),
    **_of("lu", "lu_unpack"),
    **_as("calculus", trapz="trapezoid"),
    **_as("join", row_stack="vstack"),
    **_as("legacy", range="range_"),
    **_of("founding", "to_tensor"),
}
# Methods alone.
only_methods: dict[str, Late] = {
    **_in(
        "sparse.methods",
        "to_sparse to_sparse_csr to_dense sparse_mask coalesce indices values sparse_dim dense_dim "
        "is_coalesced crow_indices col_indices _indices _values _nnz",
    ),
    **_of("strided", "as_strided"),
    **_of(
        "rare",
        "is_same_size is_nonzero is_set_to is_conj is_neg is_shared adjoint apply_ map_ map2_ "
        "as_strided_ set_ polygamma_ untyped_storage storage reinforce int_repr q_scale "
        "q_zero_point",
    ),
    **_of("hash", "hash_tensor"),
    **_of("unique", "nonzero_static"),
    **_of("legacy", "new resize resize_ resize_as_ new_empty_strided fill_diagonal_"),
    **_of("founding", "astype copy_data copy_grad zero_grad"),
    **_of("draws", "exponential_ geometric_ cauchy_ log_normal_"),
    # Their arguments stand in another order than those of the function.
    **_as("gamma", polygamma="polygamma_of"),
    **_of("places", "index_add_ index_copy_ index_put_"),
}
# These have a form `name_` that computes and then writes.
in_place: tuple[str, ...] = (
    "scatter_reduce", "addmv", "addr", "addbmm", "renorm", "masked_scatter", "put",
    "index_reduce", "igamma", "igammac", "ldexp", "float_power", "gcd", "lcm", "addmm", "baddbmm",
    "sgn", "conj_physical", "mvlgamma", "true_divide", "clip", "addcmul", "addcdiv", *elementwise,
)  # fmt: skip
# In-place methods under a second name.
SECOND = {
    "absolute": "abs", "arccos": "acos", "arccosh": "acosh", "arcsin": "asin", "arcsinh": "asinh",
    "arctan": "atan", "arctan2": "atan2", "arctanh": "atanh", "divide": "div", "fix": "trunc",
    "greater": "gt", "greater_equal": "ge", "less": "lt", "less_equal": "le", "multiply": "mul",
    "negative": "neg", "not_equal": "ne", "subtract": "sub",
}  # fmt: skip
properties: dict[str, Late] = {
    **_of("complex", "real imag"),
    **_as("complex", mH="_adjoint", H="_adjoint"),
    **_of("founding", "is_free"),
    **_of("rare", "names"),
}
