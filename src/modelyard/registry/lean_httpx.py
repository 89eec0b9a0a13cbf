"""httpx without its own command line.

Where click and rich are installed, `import httpx` imports both for a command that is not used here;
that takes a twentieth of a server's start.
"""

from __future__ import annotations

import sys

# None tells Python that there is no such module, which httpx handles
sys.modules.setdefault("httpx._main", None)  # type: ignore[arg-type]

import httpx  # noqa: E402

__all__ = ["httpx"]
