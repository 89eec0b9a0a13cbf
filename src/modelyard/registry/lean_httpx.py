"""httpx without its own command line.

Where click and rich are installed, `import httpx` imports both for a command that nobody runs here:
a twentieth of the time that a server takes to start.
"""

from __future__ import annotations

import sys

# None is how Python is told that there is no such module; httpx is prepared for that
sys.modules.setdefault("httpx._main", None)  # type: ignore[arg-type]

import httpx  # noqa: E402

__all__ = ["httpx"]
