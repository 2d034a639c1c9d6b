"""Output sizes along one axis: the bare formulae, then the same with their arguments checked."""

from __future__ import annotations

from vertebra.anatomy.arithmetic.checks import check_counts
from vertebra.core import VertebraError


def conv_size(size: int, kernel: int, stride: int, padding: int, dilation: int) -> int:
    """Positions of a window along one axis: floor((n + 2p - d(k - 1) - 1) / s) + 1.

    Unchecked: 0 or less where the window is longer than the padded axis. Dumoulin and Visin, 2016,
    arXiv:1603.07285, relationship 15.
    """
    return (size + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1


def transposed_conv_size(
    size: int, kernel: int, stride: int, padding: int, dilation: int, output_padding: int
) -> int:
    """Positions of a transposed convolution: (n - 1)s - 2p + d(k - 1) + output_padding + 1.

    Unchecked: 0 or less where the padding crops all. PyTorch's ``ConvTranspose2d``.
    """
    return (size - 1) * stride - 2 * padding + dilation * (kernel - 1) + output_padding + 1


def pool_size(
    size: int, kernel: int, stride: int, padding: int, dilation: int, ceil_mode: bool
) -> int:
    """Positions of a pooling window along one axis; unchecked, as :func:`conv_size`.

    With ``ceil_mode`` the quotient is rounded up, and a last, partial window counts if it begins
    inside the input or its left padding. PyTorch's ``MaxPool2d``.
    """
    if not ceil_mode:
        return conv_size(size, kernel, stride, padding, dilation)
    span = size + 2 * padding - dilation * (kernel - 1) - 1
    positions = -(-span // stride) + 1
    return positions - 1 if (positions - 1) * stride >= size + padding else positions


def conv_output_size(
    size: int, kernel: int, *, stride: int = 1, padding: int = 0, dilation: int = 1
) -> int:
    """Pixels along one axis after a convolution, with ``padding`` on both sides.

    Raises:
        VertebraError: the window is longer than the padded axis.
    """
    check_counts(1, size=size, kernel=kernel, stride=stride, dilation=dilation)
    check_counts(0, padding=padding)
    positions = conv_size(size, kernel, stride, padding, dilation)
    return _any_left(positions, size, kernel, padding, dilation)


def pool_output_size(
    size: int,
    kernel: int,
    *,
    stride: int | None = None,
    padding: int = 0,
    dilation: int = 1,
    ceil_mode: bool = False,
) -> int:
    """Pixels along one axis after max-pooling, and average pooling where ``dilation`` is 1.

    Without ``stride`` the window moves as far as the kernel, as in PyTorch.

    Raises:
        VertebraError: no window fits, or the padding is more than half the kernel: PyTorch refuses
            that, as a window could then hold nothing but padding.
    """
    stride = kernel if stride is None else stride
    check_counts(1, size=size, kernel=kernel, stride=stride, dilation=dilation)
    check_counts(0, padding=padding)
    if padding > kernel // 2:
        raise VertebraError(
            f"a pooling kernel of {kernel} takes padding up to half of it, {kernel // 2}; "
            f"got {padding}"
        )
    positions = pool_size(size, kernel, stride, padding, dilation, ceil_mode)
    return _any_left(positions, size, kernel, padding, dilation)


def transposed_conv_output_size(
    size: int,
    kernel: int,
    *,
    stride: int = 1,
    padding: int = 0,
    dilation: int = 1,
    output_padding: int = 0,
) -> int:
    """Pixels along one axis after a transposed convolution.

    ``stride`` sizes shrink to the same one under the convolution that this transposes;
    ``output_padding`` says which of them is meant.

    Raises:
        VertebraError: ``output_padding`` is not less than stride or dilation (PyTorch's rule), or
            the padding crops everything.
    """
    check_counts(1, size=size, kernel=kernel, stride=stride, dilation=dilation)
    check_counts(0, padding=padding, output_padding=output_padding)
    if output_padding >= max(stride, dilation):
        raise VertebraError(
            f"output padding must be less than stride {stride} or dilation {dilation}; "
            f"got {output_padding}"
        )
    positions = transposed_conv_size(size, kernel, stride, padding, dilation, output_padding)
    if positions < 1:
        raise VertebraError(
            f"padding {padding} crops all {positions + 2 * padding} pixels that the transposed "
            "convolution makes; expected less than half of them"
        )
    return positions


def _any_left(positions: int, size: int, kernel: int, padding: int, dilation: int) -> int:
    if positions < 1:
        span = dilation * (kernel - 1) + 1
        raise VertebraError(
            f"no position is left: kernel {kernel} with dilation {dilation} spans {span} pixels, "
            f"and {size} with padding {padding} on both sides are {size + 2 * padding}"
        )
    return positions
