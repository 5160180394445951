"""What torch's operations are to a network: each operation name has one role, an unknown one is "other"."""

_NAMES = {
    "linear": "linear bilinear addmm",
    "product": "matmul mm bmm einsum tensordot addbmm baddbmm dot mv inner outer rmatmul grouped_mm",
    "conv": "conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d convolution",
    "norm": "batch_norm layer_norm group_norm instance_norm rms_norm local_response_norm normalize sync_batch_norm",
    "activation": "relu relu6 leaky_relu prelu rrelu elu selu celu gelu silu mish softplus hardswish threshold glu logsigmoid "
    "hardshrink softshrink tanhshrink sigmoid tanh softsign hardtanh hardsigmoid sin cos erf clamp clip clamp_min clamp_max "
    "abs exp exp2 expm1 square pow rpow sqrt rsqrt log log1p log2 log10 logit neg reciprocal sign maximum minimum atan sinh cosh "
    "erfc asinh polar angle",
    "dropout": "dropout dropout1d dropout2d dropout3d alpha_dropout feature_dropout feature_alpha_dropout bernoulli",
    "softmax": "softmax softmin gumbel_softmax",
    "log_softmax": "log_softmax",
    "attention": "scaled_dot_product_attention multi_head_attention_forward MultiheadAttention flex_attention",
    "recurrent": "lstm gru rnn_tanh rnn_relu lstm_cell gru_cell rnn_tanh_cell rnn_relu_cell LSTM GRU RNN LSTMCell GRUCell RNNCell",
    "embedding": "embedding embedding_bag Embedding EmbeddingBag",
    "pool": "max_pool1d max_pool2d max_pool3d avg_pool1d avg_pool2d avg_pool3d adaptive_avg_pool1d adaptive_avg_pool2d "
    "adaptive_avg_pool3d adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d lp_pool1d lp_pool2d lp_pool3d "
    "max_pool1d_with_indices max_pool2d_with_indices max_pool3d_with_indices fractional_max_pool2d fractional_max_pool3d "
    "adaptive_max_pool1d_with_indices adaptive_max_pool2d_with_indices max_unpool1d max_unpool2d max_unpool3d "
    "interpolate upsample upsample_nearest upsample_bilinear grid_sample",
    "reduce": "mean nanmean sum nansum amax amin max min logsumexp norm vector_norm linalg_norm linalg_vector_norm var std var_mean std_mean prod "
    "cumsum cumprod logcumsumexp median mode topk sort aminmax trace",
    "scatter": "scatter_add index_add scatter_reduce scatter segment_reduce index_reduce sparse_mm",
    "add": "add sub rsub subtract addcmul addcdiv lerp",
    "mul": "mul multiply div divide truediv rtruediv true_divide floordiv floor_divide ldexp kron",
    "reshape": "view reshape flatten permute transpose t T mT H swapaxes swapdims movedim moveaxis contiguous squeeze unsqueeze "
    "expand expand_as broadcast_to repeat repeat_interleave tile to float half double bfloat16 type type_as cuda cpu clone "
    "roll flip pad pixel_shuffle pixel_unshuffle channel_shuffle unfold fold as_strided unflatten ravel view_as reshape_as "
    "positive real imag view_as_real view_as_complex nan_to_num alias pin_memory rot90 detach_copy",
    "index": "getitem item index_select gather select narrow masked_select take take_along_dim chunk split unbind "
    "tensor_split split_with_sizes diagonal diag unsafe_chunk unsafe_split",
    "mask": "masked_fill where tril triu setitem index_fill index_put index_copy copy masked_scatter fill zero fill_diagonal",
    "concat": "cat stack concat concatenate hstack vstack dstack column_stack meshgrid block_diag",
    "detach": "detach data requires_grad",
    "loss": "cross_entropy nll_loss nll_loss_nd binary_cross_entropy binary_cross_entropy_with_logits mse_loss l1_loss kl_div "
    "smooth_l1_loss huber_loss ctc_loss linear_cross_entropy",
}
ROLES = {name: role for role, names in _NAMES.items() for name in names.split()}
BOUNDED = frozenset("sigmoid tanh softsign hardtanh hardsigmoid relu6 sin cos erf sign atan angle".split())
BOUNDED_RECURRENT = frozenset("lstm gru rnn_tanh lstm_cell gru_cell rnn_tanh_cell LSTM GRU LSTMCell GRUCell".split())
LAYERS = frozenset(("linear", "scaled_dot_product_attention", *_NAMES["conv"].split(), *_NAMES["embedding"].split()))
STATISTICS = frozenset(
    "mean sum var std norm vector_norm linalg_norm linalg_vector_norm amax max var_mean std_mean logsumexp".split()
)
NORMALISING = frozenset(
    "rsqrt truediv rtruediv div norm vector_norm linalg_norm linalg_vector_norm std var var_mean std_mean sqrt".split()
)


def role_of(operation: str) -> str:
    if operation.endswith(("_loss", "_loss_nd")):
        return "loss"
    return ROLES.get(operation, "other")
