"""What must happen to an image before a network sees it: plain values, no arithmetic."""

from dataclasses import dataclass, replace

# Mean and standard deviation of ImageNet's training images in RGB, scaled to [0, 1]; the
# constants that torchvision's reference scripts use.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Preprocessing:
    """The evaluation transform of one network.

    The shorter side is resized to ``resize`` pixels, the centre ``size`` x ``size`` is cut out,
    values are scaled from uint8 to [0, 1], then normalised per channel by ``mean`` and ``std``
    (one entry a channel).
    """

    size: int
    resize: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    interpolation: str = "bilinear"

    @property
    def channels(self) -> int:
        """Number of input channels."""
        return len(self.mean)

    def for_size(self, size: int) -> "Preprocessing":
        """The same for another crop: ``resize`` keeps its proportion to ``size``."""
        return replace(self, size=size, resize=round(self.resize * size / self.size))

    def for_channels(self, channels: int) -> "Preprocessing":
        """The same for another number of channels: each gets the mean of the present values."""
        if channels == self.channels:
            return self
        mean, std = (round(sum(values) / len(values), 4) for values in (self.mean, self.std))
        return replace(self, mean=(mean,) * channels, std=(std,) * channels)


def channel_statistics(channels: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation for ``channels`` channels when nothing better is known.

    ImageNet's for RGB; for any other number, ImageNet's averaged over its channels.
    """
    if channels == 3:
        return IMAGENET_MEAN, IMAGENET_STD
    mean, std = round(sum(IMAGENET_MEAN) / 3, 4), round(sum(IMAGENET_STD) / 3, 4)
    return (mean,) * channels, (std,) * channels
