"""The names of PyTorch and of the founding framework that Lucid answers to, as lists.

test_names.py walks them; tests/tools/names.py writes those that are missing into docs/pytorch.md.
"""

# PyTorch's module -> its public names.
SURFACE = {
    "torch": """
        abs acos acosh add addbmm addcdiv addcmul addmm addmv addr alias_copy all
        allclose amax amin aminmax angle any arange argmax argmin argsort argwhere
        as_strided as_strided_copy as_strided_scatter asin asinh atan atan2 atanh
        atleast_1d atleast_2d atleast_3d baddbmm bernoulli bincount bitwise_and
        bitwise_left_shift bitwise_not bitwise_or bitwise_right_shift bitwise_xor
        block_diag bmm broadcast_shapes broadcast_tensors broadcast_to bucketize
        cartesian_prod cat cdist ceil cholesky cholesky_inverse cholesky_solve chunk
        clamp clamp_max clamp_min clone column_stack combinations complex conj
        conj_physical constant_pad_nd copysign corrcoef cos cosh count_nonzero cov cross
        cummax cummin cumprod cumsum cumulative_trapezoid deg2rad diag diag_embed
        diagflat diagonal diagonal_copy diagonal_scatter diff digamma dist div dot dsplit
        dstack einsum empty empty_like empty_permuted empty_strided eq equal erf erfc
        erfinv exp exp2 expand_copy expm1 eye fill flatten flip fliplr flipud float_power
        floor floor_divide fmax fmin fmod frac frexp full full_like gather gcd ge geqrf
        gradient grid_sampler_2d grid_sampler_3d gt hash_tensor heaviside histc histogram
        histogramdd hsplit hstack hypot i0 igamma igammac imag index_add index_copy
        index_fill index_put index_reduce index_select inner isclose isfinite isin isinf
        isnan isneginf isposinf isreal istft kron kthvalue lcm ldexp le lerp lgamma
        linspace log log10 log1p log2 log_softmax logaddexp logaddexp2 logcumsumexp
        logdet logical_and logical_not logical_or logical_xor logit logspace logsumexp lt
        lu lu_solve lu_unpack masked_fill masked_scatter masked_select matmul matrix_exp
        max maximum mean median meshgrid min minimum mm mode movedim msort mul
        multinomial mv mvlgamma nan_to_num nanmean nanmedian nanquantile nansum narrow
        narrow_copy native_batch_norm native_group_norm native_layer_norm ne neg
        nextafter nonzero nonzero_static norm normal ones ones_like ormqr outer
        pca_lowrank permute permute_copy pinverse polar polygamma positive pow prod put
        qr quantile rad2deg rand_like randint randint_like randn randn_like ravel real
        reciprocal remainder renorm repeat_interleave reshape resize_as_ resolve_conj
        resolve_neg roll rot90 round rsqrt rsub scalar_tensor scatter scatter_add
        scatter_reduce searchsorted select select_scatter sgn sigmoid sign signbit sin
        sinc sinh slice_scatter softmax sort split split_with_sizes split_with_sizes_copy
        sqrt square squeeze squeeze_copy stack std std_mean stft sub sum svd svd_lowrank
        t t_copy take take_along_dim tan tanh tensor_split tensordot tile topk trace
        transpose transpose_copy trapezoid trapz triangular_solve tril tril_indices triu
        triu_indices true_divide trunc unbind unbind_copy unflatten unfold_copy unique
        unique_consecutive unravel_index unsafe_chunk unsafe_split unsqueeze
        unsqueeze_copy var var_mean vdot view_as_complex view_as_real view_copy vsplit
        vstack where xlogy zero_ zeros zeros_like
    """,
    "torch.Tensor": """
        H T abs acos acosh add addbmm addcdiv addcmul addmm addmv addr all allclose amax
        amin aminmax angle any argmax argmin argsort argwhere as_strided
        as_strided_scatter asin asinh atan atan2 atanh baddbmm bernoulli bfloat16
        bincount bitwise_and bitwise_left_shift bitwise_not bitwise_or
        bitwise_right_shift bitwise_xor bmm bool broadcast_to byte cdouble ceil cfloat
        chalf char cholesky cholesky_inverse cholesky_solve chunk clamp clamp_max
        clamp_min clone conj conj_physical contiguous copysign corrcoef cos cosh
        count_nonzero cov cross cummax cummin cumprod cumsum deg2rad diag diag_embed
        diagflat diagonal diagonal_scatter diff digamma dist div dot double dsplit eq
        equal erf erfc erfinv exp exp2 expand expand_as expm1 flatten flip fliplr flipud
        float float_power floor floor_divide fmax fmin fmod frac frexp gather gcd ge
        geqrf gt half hash_tensor heaviside histc histogram hsplit hypot i0 igamma
        igammac imag index_add index_copy index_fill index_put index_reduce index_select
        inner int isclose isfinite isinf isnan isneginf isposinf isreal istft item kron
        kthvalue lcm ldexp le lerp lgamma log log10 log1p log2 log_softmax logaddexp
        logaddexp2 logcumsumexp logdet logical_and logical_not logical_or logical_xor
        logit logsumexp long lt lu lu_solve mH mT masked_fill masked_scatter
        masked_select matmul matrix_exp max maximum mean median min minimum mm mode
        movedim msort mul multinomial mv mvlgamma nan_to_num nanmean nanmedian
        nanquantile nansum narrow narrow_copy ne neg new_empty new_empty_strided new_full
        new_ones new_zeros nextafter nonzero nonzero_static norm ormqr outer permute
        pinverse polygamma positive pow prod put qr quantile rad2deg ravel real
        reciprocal remainder renorm repeat repeat_interleave reshape reshape_as resize_
        resize_as_ resolve_conj resolve_neg roll rot90 round rsqrt scatter scatter_add
        scatter_reduce select select_scatter sgn short sigmoid sign signbit sin sinc sinh
        slice_scatter softmax sort split split_with_sizes sqrt square squeeze std stft
        sub sum sum_to_size svd t take take_along_dim tan tanh tensor_split tile to topk
        trace transpose triangular_solve tril triu true_divide trunc unbind unflatten
        unfold unique unique_consecutive unsafe_chunk unsafe_split unsqueeze var vdot
        view view_as vsplit where xlogy zero_ abs_ acos_ acosh_ add_ addbmm_ addcdiv_
        addcmul_ addmm_ addmv_ addr_ as_strided_ asin_ asinh_ atan_ atan2_ atanh_
        baddbmm_ bernoulli_ bitwise_and_ bitwise_left_shift_ bitwise_not_ bitwise_or_
        bitwise_right_shift_ bitwise_xor_ cauchy_ ceil_ clamp_ clamp_max_ clamp_min_
        conj_physical_ copysign_ cos_ cosh_ cumprod_ cumsum_ deg2rad_ digamma_ div_ eq_
        erf_ erfc_ erfinv_ exp_ exp2_ expm1_ exponential_ fill_ float_power_ floor_
        floor_divide_ fmod_ frac_ gcd_ ge_ geometric_ gt_ heaviside_ hypot_ i0_ igamma_
        igammac_ index_add_ index_copy_ index_fill_ index_put_ index_reduce_ lcm_ ldexp_
        le_ lerp_ lgamma_ log_ log10_ log1p_ log2_ log_normal_ logical_and_ logical_not_
        logical_or_ logical_xor_ logit_ lt_ masked_fill_ masked_scatter_ mul_ mvlgamma_
        nan_to_num_ ne_ neg_ nextafter_ normal_ polygamma_ pow_ put_ rad2deg_ reciprocal_
        remainder_ renorm_ round_ rsqrt_ scatter_ scatter_add_ scatter_reduce_ sgn_
        sigmoid_ sign_ sin_ sinc_ sinh_ sqrt_ square_ squeeze_ sub_ t_ tan_ tanh_
        transpose_ tril_ triu_ true_divide_ trunc_ uniform_ unsqueeze_ xlogy_
    """,
    "torch.nn.functional": """
        adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d adaptive_max_pool1d
        adaptive_max_pool2d adaptive_max_pool3d alpha_dropout avg_pool1d avg_pool2d
        avg_pool3d batch_norm bilinear binary_cross_entropy
        binary_cross_entropy_with_logits celu channel_shuffle conv1d conv2d conv3d
        conv_transpose1d conv_transpose2d conv_transpose3d cosine_embedding_loss
        cosine_similarity cross_entropy ctc_loss dropout dropout2d dropout3d elu
        embedding embedding_bag feature_alpha_dropout fractional_max_pool2d
        fractional_max_pool3d gaussian_nll_loss gelu glu grid_sample group_norm
        hardshrink hardsigmoid hardswish hardtanh hinge_embedding_loss huber_loss
        instance_norm interpolate kl_div l1_loss layer_norm leaky_relu linear
        linear_cross_entropy local_response_norm logsigmoid margin_ranking_loss
        max_pool1d max_pool2d max_pool3d max_unpool1d max_unpool2d max_unpool3d mish
        mse_loss multi_head_attention_forward multi_margin_loss multilabel_margin_loss
        multilabel_soft_margin_loss nll_loss normalize one_hot pad pairwise_distance
        pdist pixel_shuffle pixel_unshuffle poisson_nll_loss prelu relu relu6 rms_norm
        rrelu scaled_dot_product_attention selu silu smooth_l1_loss soft_margin_loss
        softmin softplus softshrink softsign tanhshrink threshold triplet_margin_loss
        triplet_margin_with_distance_loss unfold upsample_bilinear upsample_nearest
    """,
    "torch.linalg": """
        cholesky cholesky_ex cond cross det diagonal eig eigh eigvals eigvalsh
        householder_product inv inv_ex ldl_factor ldl_factor_ex ldl_solve lstsq lu
        lu_factor lu_factor_ex lu_solve matrix_norm matrix_power matrix_rank multi_dot
        norm pinv qr slogdet solve solve_ex solve_triangular svd svdvals tensorinv
        tensorsolve vander vecdot vector_norm
    """,
    "torch.fft": """
        fft fft2 fftn fftshift hfft hfft2 hfftn ifft ifft2 ifftn ifftshift ihfft ihfft2
        ihfftn irfft irfft2 irfftn rfft rfft2 rfftn
    """,
    "torch.special": """
        airy_ai bessel_j0 bessel_j1 bessel_y0 bessel_y1 chebyshev_polynomial_t
        chebyshev_polynomial_u chebyshev_polynomial_v chebyshev_polynomial_w entr erfcx
        hermite_polynomial_h hermite_polynomial_he i0e i1 i1e laguerre_polynomial_l
        legendre_polynomial_p log_ndtr modified_bessel_i0 modified_bessel_i1
        modified_bessel_k0 modified_bessel_k1 ndtr ndtri polygamma
        scaled_modified_bessel_k0 scaled_modified_bessel_k1
        shifted_chebyshev_polynomial_t shifted_chebyshev_polynomial_u
        shifted_chebyshev_polynomial_v shifted_chebyshev_polynomial_w spherical_bessel_j0
        xlog1py zeta
    """,
    "torch.signal.windows": """
        bartlett blackman cosine exponential gaussian general_cosine general_hamming
        hamming hann kaiser nuttall
    """,
    "torch.nn": """
        AdaptiveAvgPool1d AdaptiveAvgPool2d AdaptiveAvgPool3d AdaptiveLogSoftmaxWithLoss
        AdaptiveMaxPool1d AdaptiveMaxPool2d AdaptiveMaxPool3d AlphaDropout AvgPool1d
        AvgPool2d AvgPool3d BCELoss BCEWithLogitsLoss BatchNorm1d BatchNorm2d BatchNorm3d
        Bilinear Buffer CELU CTCLoss ChannelShuffle CircularPad1d CircularPad2d
        CircularPad3d ConstantPad1d ConstantPad2d ConstantPad3d Container Conv1d Conv2d
        Conv3d ConvTranspose1d ConvTranspose2d ConvTranspose3d CosineEmbeddingLoss
        CosineSimilarity CrossEntropyLoss CrossMapLRN2d Dropout Dropout1d Dropout2d
        Dropout3d ELU Embedding EmbeddingBag FeatureAlphaDropout Flatten Fold
        FractionalMaxPool2d FractionalMaxPool3d GELU GLU GRU GRUCell GaussianNLLLoss
        GroupNorm Hardshrink Hardsigmoid Hardswish Hardtanh HingeEmbeddingLoss HuberLoss
        Identity InstanceNorm1d InstanceNorm2d InstanceNorm3d KLDivLoss L1Loss LPPool1d
        LPPool2d LPPool3d LSTM LSTMCell LayerNorm LazyBatchNorm1d LazyBatchNorm2d
        LazyBatchNorm3d LazyConv1d LazyConv2d LazyConv3d LazyConvTranspose1d
        LazyConvTranspose2d LazyConvTranspose3d LazyInstanceNorm1d LazyInstanceNorm2d
        LazyInstanceNorm3d LazyLinear LeakyReLU Linear LinearCrossEntropyLoss
        LinearCrossEntropyOptions LocalResponseNorm LogSigmoid LogSoftmax MSELoss
        MarginRankingLoss MaxPool1d MaxPool2d MaxPool3d MaxUnpool1d MaxUnpool2d
        MaxUnpool3d Mish Module ModuleDict ModuleList MultiLabelMarginLoss
        MultiLabelSoftMarginLoss MultiMarginLoss MultiheadAttention NLLLoss PReLU
        PairwiseDistance Parameter ParameterDict ParameterList PixelShuffle
        PixelUnshuffle PoissonNLLLoss RMSNorm RNN RNNBase RNNCell RNNCellBase RReLU ReLU
        ReLU6 ReflectionPad1d ReflectionPad2d ReflectionPad3d ReplicationPad1d
        ReplicationPad2d ReplicationPad3d SELU Sequential SiLU Sigmoid SmoothL1Loss
        SoftMarginLoss Softmax Softmax2d Softmin Softplus Softshrink Softsign
        SyncBatchNorm Tanh Tanhshrink Threshold Transformer TransformerDecoder
        TransformerDecoderLayer TransformerEncoder TransformerEncoderLayer
        TripletMarginLoss TripletMarginWithDistanceLoss Unflatten Unfold Upsample
        UpsamplingBilinear2d UpsamplingNearest2d ZeroPad1d ZeroPad2d ZeroPad3d
    """,
    "torch.optim": """
        SGD Adam AdamW Adamax NAdam RAdam Adagrad Adadelta Adafactor RMSprop Rprop ASGD
        LBFGS Muon SparseAdam
    """,
    "torch.optim.lr_scheduler": """
        LambdaLR MultiplicativeLR StepLR MultiStepLR ConstantLR LinearLR ExponentialLR
        PolynomialLR CosineAnnealingLR CosineAnnealingWarmRestarts CyclicLR OneCycleLR
        ReduceLROnPlateau ChainedScheduler SequentialLR
    """,
    "torch.optim.swa_utils": """
        AveragedModel SWALR get_ema_multi_avg_fn update_bn
    """,
    "torch.autograd": """
        backward grad Function no_grad enable_grad set_grad_enabled inference_mode
        gradcheck gradgradcheck detect_anomaly set_detect_anomaly Variable
    """,
    "torch.autograd.functional": """
        jacobian hessian vjp jvp hvp vhp
    """,
    "torch.autograd.graph": """
        saved_tensors_hooks save_on_cpu Node increment_version register_multi_grad_hook
        disable_saved_tensors_hooks
    """,
    "torch.autograd.forward_ad": """
        dual_level make_dual unpack_dual enter_dual_level exit_dual_level
        UnpackedDualTensor
    """,
    "torch.func": """
        grad grad_and_value vjp jvp jacrev jacfwd hessian vmap linearize functional_call
        stack_module_state
    """,
    "torch.utils.checkpoint": """
        checkpoint checkpoint_sequential
    """,
    "torch.utils.data": """
        Dataset IterableDataset TensorDataset ConcatDataset ChainDataset Subset
        random_split DataLoader default_collate get_worker_info Sampler SequentialSampler
        RandomSampler SubsetRandomSampler WeightedRandomSampler BatchSampler
    """,
    "torch.nn.utils": """
        clip_grad_norm_ clip_grad_value_ parameters_to_vector vector_to_parameters
        parametrize prune weight_norm spectral_norm
    """,
    "torch.nn.utils.parametrizations": """
        weight_norm spectral_norm orthogonal
    """,
    "torch.nn.utils.rnn": """
        pack_padded_sequence pad_packed_sequence pad_sequence pack_sequence
    """,
    "torch.amp": """
        autocast GradScaler
    """,
    "torch.random": """
        manual_seed seed initial_seed get_rng_state set_rng_state fork_rng
    """,
}

# Spellings that old programs have, and what programs ask for beside.
SURFACE["torch "] = """
        ByteTensor CharTensor DoubleTensor FloatTensor Generator HalfTensor IntTensor LongTensor
        ShortTensor BoolTensor BFloat16Tensor Size Tensor as_tensor bfloat16 cat chain_matmul
        channels_last compile complex128 complex64 concat concatenate contiguous_format device
        dtype enable_grad finfo float16 float32 float64 from_dlpack from_numpy full_like
        get_default_dtype get_num_threads get_rng_state iinfo inference_mode initial_seed int16
        int32 int64 int8 is_complex is_floating_point is_grad_enabled is_tensor jit linspace load
        manual_seed no_grad numel polar preserve_format promote_types qr rand randperm range save
        set_default_dtype set_default_tensor_type set_grad_enabled set_num_threads
        set_printoptions set_rng_state sparse_coo_tensor spmm strided symeig tensor uint8
        view_as_complex view_as_real vmap zeros_like bool half double long arccos arcsin arctan
        absolute clip divide multiply subtract negative moveaxis swapaxes swapdims greater less
        greater_equal less_equal not_equal matrix_power det logdet slogdet inverse hann_window
        hamming_window bartlett_window blackman_window kaiser_window
"""
SURFACE["torch.Tensor "] = """
        T H mT mH data grad grad_fn is_leaf requires_grad shape dtype device layout ndim names
        backward detach detach_ requires_grad_ retain_grad register_hook
        register_post_accumulate_grad_hook item tolist numpy cpu cuda to type type_as new
        new_tensor new_zeros new_ones new_empty new_full size stride dim numel nelement
        element_size storage_offset data_ptr storage untyped_storage is_contiguous contiguous
        is_cuda is_sparse is_quantized copy_ fill_ zero_ normal_ uniform_ bernoulli_ random_
        exponential_ geometric_ cauchy_ log_normal_ pin_memory is_pinned share_memory_ is_shared
        set_ to_sparse to_dense coalesce indices values sparse_mask int_repr q_scale
        q_zero_point reinforce apply_ map_ erfinv_ lerp_ trunc_ expand_as view_as reshape_as
        index_add_ index_fill_ masked_fill_ scatter_ scatter_add_ clamp_max_ clamp_min_ as_strided
        fill_diagonal_ tril_ triu_ swapaxes_ squeeze_ unsqueeze_ transpose_ t_ unfold
"""
SURFACE["torch.nn.init"] = """
        _calculate_fan_in_and_fan_out calculate_gain constant constant_ dirac_ eye_ kaiming_normal
        kaiming_normal_ kaiming_uniform_ normal normal_ ones_ orthogonal_ sparse_ trunc_normal_
        uniform_ xavier_normal_ xavier_uniform_ zeros_
"""
SURFACE["torch.distributions"] = """
        Bernoulli Beta Categorical Cauchy Distribution Gamma MultivariateNormal Normal
        OneHotCategorical kl_divergence
"""

# max_pool2d_with_indices_backward, native_dropout_backward and slice are names of ops that PyTorch
# has no public functions for: they stand in no list.

# Names of the founding framework, under `lucid`.
FOUNDING = """
    grad_enabled _grad_enabled to_tensor count_flops newaxis inf pi Int8 Int16 Int32 Int64 Float16
    Float32 Float64 Complex64 cube power multiply subtract divide inner expand_dims pad hstack
    vstack broadcast_to clip Tensor.astype Tensor.copy_data Tensor.copy_grad Tensor.is_free
    Tensor.zero_grad random.seed random.rand random.randint random.randn random.uniform
    random.bernoulli einops.rearrange einops.reduce einops.repeat nn.Swish nn.HardSwish
    nn.HardSigmoid nn.DropBlock nn.DropPath nn.GlobalResponseNorm nn.Rearrange nn.ConvBNReLU1d
    nn.ConvBNReLU2d nn.ConvBNReLU3d nn.DepthSeparableConv1d nn.DepthSeparableConv2d
    nn.DepthSeparableConv3d nn.SEModule nn.SelectiveKernel nn.Module.count_parameters
    nn.Module.parameter_size models.summarize datasets.MNIST datasets.FashionMNIST datasets.CIFAR10
    datasets.CIFAR100 transforms.Compose transforms.ToTensor transforms.Normalize transforms.Resize
    transforms.RandomHorizontalFlip transforms.RandomVerticalFlip transforms.RandomCrop
    transforms.CenterCrop transforms.RandomRotation transforms.RandomGrayscale
    error.UnknownDeviceError error.DeviceMismatchError error.BackwardError
"""
