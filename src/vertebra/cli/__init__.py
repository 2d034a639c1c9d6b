"""The command line: parse, call one public function, print. No logic.

Modules of other rooms are imported inside the commands, so that ``--help`` and what needs only the
catalogue start without PyTorch.
"""

from vertebra.cli.app import main

__all__ = ["main"]
