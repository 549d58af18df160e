"""Which functions of the later families are public: `methods` are also methods of Tensor.

ops/methods.py reads the tables when it attaches everything.
"""

from collections.abc import Callable
from types import ModuleType

from lucid.ops import (
    calculus,
    complex,
    draws,
    draws_counts,
    draws_gamma,
    founding,
    gamma,
    gamma_incomplete,
    hash,
    join,
    ldl,
    legacy,
    linalg,
    linalg_legacy,
    lu,
    numeric,
    parts,
    places,
    products,
    rare,
    running,
    scatter,
    search,
    sort,
    sparse,
    stft,
    strided,
    unique,
    windows,
)


def _of(module: ModuleType, names: str) -> dict[str, Callable]:
    return {name: getattr(module, name) for name in names.split()}


# With `out=` where PyTorch has it: the result is computed, then written.
with_out: dict[str, Callable] = {
    "clip": founding.clip,
    **_of(sort, "sort argsort msort topk kthvalue median nanmedian mode quantile nanquantile"),
    **_of(running, "cummax cummin logcumsumexp"),
    **_of(search, "take_along_dim multinomial"),
    **_of(unique, "histc histogram"),
    **_of(scatter, "scatter_reduce"),
    **_of(places, "take"),
    **_of(numeric, "frexp ldexp float_power gcd lcm"),
    **_of(calculus, "diff nansum nanmean cov corrcoef dist renorm index_reduce"),
    **_of(products, "addmv addr addbmm inner vdot kron cross"),
    **_of(parts, "diag_embed masked_scatter"),
    **_of(
        linalg,
        "cholesky_solve cholesky_inverse slogdet logdet det matrix_exp matrix_power",
    ),
    **_of(gamma_incomplete, "igamma igammac"),
    "inverse": linalg.inv,
    "pinverse": linalg.pinv,
    "cholesky": linalg_legacy.cholesky_of,
    "qr": linalg_legacy.qr_of,
    "svd": linalg_legacy.svd_of,
    "symeig": linalg_legacy.symeig,
    "triangular_solve": linalg_legacy.triangular_solve,
    "lu": lu.lu_of,
    "lu_solve": lu.lu_solve_of,
}
methods: dict[str, Callable] = {
    **_of(ldl, "geqrf ormqr"),
    **_of(unique, "unique unique_consecutive bincount"),
    "argwhere": places.argwhere,
    **_of(numeric, "rsub isreal mvlgamma"),
    **_of(
        parts,
        "hsplit vsplit dsplit split_with_sizes unsafe_split unsafe_chunk fliplr flipud rot90 "
        "diagflat sum_to_size diagonal_scatter select_scatter slice_scatter as_strided_scatter put",
    ),
    **parts.copies,
    "fill": legacy.fill,
    **_of(founding, "cube expand_dims pad"),
    **_of(stft, "stft istft"),
    **{n: f for n, f in complex.functions.items() if n not in complex.properties},
}
# With `out=`, and no methods.
creators: dict[str, Callable] = {
    **_of(search, "searchsorted bucketize isin"),
    "nonzero_static": unique.nonzero_static,
    "polygamma": gamma.polygamma,
    **_of(parts, "column_stack dstack"),
    **_of(calculus, "logspace"),
    **_of(products, "chain_matmul"),
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
functions: dict[str, Callable] = {
    **_of(
        parts,
        "atleast_1d atleast_2d atleast_3d block_diag tril_indices triu_indices cartesian_prod "
        "combinations unravel_index broadcast_shapes constant_pad_nd",
    ),
    **_of(calculus, "trapezoid cumulative_trapezoid gradient cdist"),
    "hash_tensor": hash.hash_tensor,
    "histogramdd": unique.histogramdd,
    **_of(draws_counts, "poisson binomial"),
    "_standard_gamma": draws_gamma._standard_gamma,
    **_of(legacy, "set_default_tensor_type scalar_tensor empty_strided empty_permuted"),
    **_of(windows, "hann_window hamming_window blackman_window bartlett_window kaiser_window"),
    **legacy.constructors,
    **complex.creators,
    "real": complex.real,
    "imag": complex.imag,
    **_of(linalg_legacy, "svd_lowrank pca_lowrank"),
    "lu_unpack": lu.lu_unpack,
    "trapz": calculus.trapezoid,
    "row_stack": join.vstack,
    "range": legacy.range_,
    "to_tensor": founding.to_tensor,
}
# Methods alone.
only_methods: dict[str, Callable] = {
    **_of(ldl, "geqrf ormqr"),
    **sparse.methods,
    "as_strided": strided.as_strided,
    **rare.methods,
    "nonzero_static": unique.nonzero_static,
    **_of(legacy, "new resize resize_ resize_as_ new_empty_strided fill_diagonal_"),
    **_of(founding, "astype copy_data copy_grad zero_grad"),
    **_of(draws, "exponential_ geometric_ cauchy_ log_normal_"),
}
# These have a form `name_` that computes and then writes.
in_place: tuple[str, ...] = (
    "scatter_reduce", "addmv", "addr", "addbmm", "renorm", "masked_scatter", "put",
    "index_reduce", "igamma", "igammac", "ldexp", "float_power", "gcd", "lcm", "addmm", "baddbmm",
    "sgn", "conj_physical", "mvlgamma", "true_divide",
)  # fmt: skip
properties: dict[str, Callable] = {
    **complex.properties, "is_free": founding.is_free, "names": rare.names,
}  # fmt: skip
# Methods whose arguments stand in another order than those of the function.
own: dict[str, Callable] = {
    "polygamma": gamma.polygamma_of, "index_add_": places.index_add_,
    "index_copy_": places.index_copy_, "index_put_": places.index_put_,
}  # fmt: skip
