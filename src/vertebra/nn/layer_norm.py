"""Layer normalisation of maps."""

from torch import Tensor, nn


class LayerNorm2d(nn.LayerNorm):
    """Normalises each position over its channels (Ba et al., 2016, arXiv:1607.06450).

    What it gives lies in memory with the channels last, which is also how it is fastest to take.

    Shapes: (N, C, H, W) -> (N, C, H, W).
    """

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H, W)."""
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
