"""`python -m modelyard.serving`: see `server.py`."""

from __future__ import annotations

import gc
import sys

if __name__ == "__main__":
    # Nothing of what is imported is garbage, and looking for some meanwhile is a twentieth of the
    # start; the server turns the collector on again.
    gc.disable()
    from modelyard.serving.server import main

    sys.exit(main())
