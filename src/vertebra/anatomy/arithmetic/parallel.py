"""Training over many GPUs: the state that each keeps, and the bytes that they send.

Bytes are exact whole numbers; where something is divided among GPUs, the docstring says how it is
rounded.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from vertebra.anatomy.arithmetic.checks import check_counts
from vertebra.core import VertebraError


@dataclass(frozen=True)
class StateBytes:
    """Bytes a parameter takes in training, by what they hold.

    By default Adam in mixed precision, 2 + 2 + 12: parameters and gradients in 16 bits, the
    optimiser's copy of the parameters, momentum and variance in 32 (Rajbhandari et al., 2020,
    section 3.1). Adam in float32 is ``StateBytes(4, 4, 8)``, SGD with momentum (4, 4, 4).
    """

    parameters: int = 2
    gradients: int = 2
    optimiser: int = 12

    def __post_init__(self) -> None:
        check_counts(
            0, parameters=self.parameters, gradients=self.gradients, optimiser=self.optimiser
        )


MIXED_ADAM = StateBytes()


@dataclass(frozen=True)
class StateMemory:
    """Bytes of training state on one GPU. Activations and buffers of the moment come on top."""

    parameters: int
    gradients: int
    optimiser: int

    @property
    def total(self) -> int:
        """All bytes."""
        return self.parameters + self.gradients + self.optimiser


def zero_memory(params: int, ranks: int, stage: int, state: StateBytes = MIXED_ADAM) -> StateMemory:
    """Training state on each of ``ranks`` GPUs under ZeRO.

    Stage 0 keeps everything everywhere (plain data parallelism); stage 1 divides the optimiser's
    state, stage 2 the gradients too, stage 3 the parameters too. Rajbhandari et al., 2020,
    arXiv:1910.02054, figure 1 and section 5.

    A share is ceil(params / ranks) whole parameters, that of the fullest GPU if nothing is padded.
    In reality shares are padded more (for alignment, and for each layer that is divided on its
    own), and a layer's parameters are gathered while it runs: this is a lower bound.

    Raises:
        VertebraError: ``stage`` is not 0 to 3.
    """
    check_counts(1, params=params, ranks=ranks)
    if stage not in (0, 1, 2, 3):
        raise VertebraError(f"a stage of ZeRO is 0, 1, 2 or 3; got {stage!r}")
    share = -(-params // ranks)
    return StateMemory(
        parameters=state.parameters * (share if stage >= 3 else params),
        gradients=state.gradients * (share if stage >= 2 else params),
        optimiser=state.optimiser * (share if stage >= 1 else params),
    )


@dataclass(frozen=True)
class RingAllReduce:
    """``steps`` times each GPU sends ``chunk`` bytes to the next one and receives as many."""

    steps: int
    chunk: int

    @property
    def sent(self) -> int:
        """Bytes that each GPU sends altogether."""
        return self.steps * self.chunk

    def seconds(self, bandwidth: float, latency: float = 0.0) -> float:
        """Time by the alpha-beta model: each step costs the latency and its bytes.

        ``bandwidth`` in bytes per second and direction between neighbours, ``latency`` in seconds
        a message. The additions cost nothing, and no two GPUs share a link. Hockney, "The
        communication challenge for MPP", Parallel Computing 20, 1994.

        Raises:
            VertebraError: ``bandwidth`` is not positive, or ``latency`` negative, or either is no
                finite number.
        """
        if not 0 < bandwidth < math.inf:
            raise VertebraError(f"bandwidth must be positive, in bytes per second; got {bandwidth}")
        if not 0 <= latency < math.inf:
            raise VertebraError(f"latency must be 0 or more seconds; got {latency}")
        return self.steps * latency + self.sent / bandwidth


def ring_all_reduce(size: int, ranks: int) -> RingAllReduce:
    """Sum ``size`` bytes over ``ranks`` GPUs in a ring, such that each has the sum.

    N - 1 steps reduce and scatter, N - 1 gather, each of them one chunk out of N: 2 (N - 1) / N
    times the bytes, which is the least there can be, and below 2 for however many GPUs.
    Patarasuk and Yuan, "Bandwidth optimal all-reduce algorithms for clusters of workstations",
    Journal of Parallel and Distributed Computing 69, 2009.

    All chunks have ceil(size / ranks) bytes, the last one padded: exact where ``ranks`` divides
    ``size``, else less than 2 (N - 1) bytes above the fraction. One GPU sends nothing.
    """
    check_counts(0, size=size)
    check_counts(1, ranks=ranks)
    return RingAllReduce(steps=2 * (ranks - 1), chunk=-(-size // ranks))
