"""Entry point of `python -m nas_lightning`."""

import sys

from nas_lightning.cli import main

sys.exit(main())
