"""What torch's operations are to a network: each operation's name has one role; an unknown one is "other"."""

from __future__ import annotations

from typing import FrozenSet


def _names(text: str) -> FrozenSet[str]:
    return frozenset(text.split())


_ROLES = {
    "linear": _names("linear bilinear addmm"),
    "product": _names("matmul rmatmul mm bmm einsum tensordot addbmm baddbmm dot mv inner outer grouped_mm"),
    "conv": _names("conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d convolution"),
    "norm": _names("batch_norm layer_norm group_norm instance_norm rms_norm local_response_norm normalize"),
    "activation": _names(
        "relu relu6 leaky_relu prelu rrelu elu selu celu gelu silu mish softplus hardswish threshold glu logsigmoid "
        "hardshrink softshrink tanhshrink sigmoid tanh softsign hardtanh hardsigmoid sin cos sinh cosh asinh atan "
        "log_sigmoid erf erfc clamp clip clamp_min clamp_max maximum minimum abs neg sign exp exp2 expm1 pow rpow square sqrt "
        "rsqrt reciprocal log log1p log2 log10 logit angle polar"
    ),
    "dropout": _names("dropout dropout1d dropout2d dropout3d alpha_dropout feature_dropout feature_alpha_dropout"),
    "softmax": _names("softmax softmin gumbel_softmax"),
    "log_softmax": _names("log_softmax"),
    "attention": _names("scaled_dot_product_attention multi_head_attention_forward MultiheadAttention flex_attention"),
    "recurrent": _names(
        "lstm gru rnn_tanh rnn_relu lstm_cell gru_cell rnn_tanh_cell rnn_relu_cell LSTM GRU RNN LSTMCell GRUCell "
        "RNNCell"
    ),
    "embedding": _names("embedding embedding_bag"),
    "pool": _names(
        "max_pool1d max_pool2d max_pool3d max_pool1d_with_indices max_pool2d_with_indices max_pool3d_with_indices "
        "avg_pool1d avg_pool2d avg_pool3d adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d "
        "adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d adaptive_max_pool1d_with_indices "
        "adaptive_max_pool2d_with_indices fractional_max_pool2d fractional_max_pool3d lp_pool1d lp_pool2d lp_pool3d "
        "max_unpool1d max_unpool2d max_unpool3d interpolate upsample upsample_nearest upsample_bilinear grid_sample"
    ),
    "reduce": _names(
        "mean nanmean sum nansum amax amin max min aminmax logsumexp norm vector_norm linalg_norm linalg_vector_norm "
        "var std var_mean std_mean prod cumsum cumprod logcumsumexp median mode topk sort trace"
    ),
    "scatter": _names("scatter scatter_add scatter_reduce index_add index_reduce segment_reduce"),
    "add": _names("add sub rsub subtract addcmul addcdiv lerp"),
    "mul": _names("mul multiply div divide rdiv truediv rtruediv true_divide floordiv floor_divide ldexp"),
    "reshape": _names(
        "view view_as reshape reshape_as flatten unflatten ravel permute transpose t T mT H swapaxes swapdims "
        "movedim moveaxis squeeze unsqueeze expand expand_as broadcast_to repeat repeat_interleave tile contiguous "
        "clone alias to float half double bfloat16 type type_as cuda cpu positive roll flip rot90 pad pixel_shuffle "
        "pixel_unshuffle channel_shuffle unfold fold as_strided real imag view_as_real view_as_complex nan_to_num"
    ),
    "index": _names(
        "getitem item index_select gather select narrow masked_select take take_along_dim chunk split unbind "
        "tensor_split split_with_sizes unsafe_chunk unsafe_split diagonal diag"
    ),
    "mask": _names(
        "masked_fill masked_scatter where tril triu setitem index_fill index_put index_copy copy fill zero "
        "fill_diagonal"
    ),
    "concat": _names("cat stack concat concatenate hstack vstack dstack column_stack block_diag"),
    "detach": _names("detach data requires_grad"),
    "loss": _names("cross_entropy binary_cross_entropy binary_cross_entropy_with_logits kl_div linear_cross_entropy"),
}
_ROLE = {name: role for role, names in _ROLES.items() for name in names}
BOUNDED = _names("sigmoid tanh softsign hardtanh hardsigmoid relu6 sin cos erf sign atan angle") | _names(
    "lstm gru rnn_tanh lstm_cell gru_cell rnn_tanh_cell LSTM GRU LSTMCell GRUCell"
)
LAYERS = _ROLES["conv"] | _ROLES["embedding"] | _names("linear scaled_dot_product_attention unseen")
STATISTICS = _names(
    "mean sum var std var_mean std_mean norm vector_norm linalg_norm linalg_vector_norm amax max logsumexp"
)
NORMALISING = _names(
    "rsqrt sqrt truediv rtruediv rdiv div var std var_mean std_mean norm vector_norm linalg_vector_norm"
)


def role_of(operation: str) -> str:
    return "loss" if operation.endswith(("_loss", "_loss_nd")) else _ROLE.get(operation, "other")
