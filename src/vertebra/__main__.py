"""``python -m vertebra``, the same as the ``vertebra`` command."""

import sys

from vertebra.cli import main

if __name__ == "__main__":
    sys.exit(main())
