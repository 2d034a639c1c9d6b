"""What is known of networks: published accuracies with their source, measurements with theirs."""

from vertebra.evidence.measurement import Conditions, Measurement
from vertebra.evidence.published import Published, published_elsewhere

__all__ = ["Conditions", "Measurement", "Published", "published_elsewhere"]
