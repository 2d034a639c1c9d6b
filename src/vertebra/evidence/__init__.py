"""What is known of networks, with its source.

So far the published accuracies; measurements of this machine come later.
"""

from vertebra.evidence.published import Published, published_elsewhere

__all__ = ["Published", "published_elsewhere"]
