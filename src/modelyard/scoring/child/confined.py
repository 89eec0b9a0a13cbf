"""What a server starts as a model's process: it confines itself, and only then runs its program.

`python -m modelyard.scoring.child.confined CONFINEMENT|open MODULE ARGUMENT…`: a confinement as
`Confinement.to_json` writes it, and a module whose `main` takes the arguments.

Nothing is imported before that could start a thread: numpy may.
"""

from __future__ import annotations

import sys
from importlib import import_module

from modelyard.scoring.child.guard import be_first_to_go, limit_files, resident_bytes

OPEN = "open"
"""In the place of a confinement: none."""


def command(confinement: str, module: str, *arguments: str) -> list[str]:
    """The command that runs `module` confined."""
    return [sys.executable, "-P", "-m", __name__, confinement, module, *arguments]


def main(arguments: list[str]) -> int:
    """Confine this process, and run what it is for."""
    confinement, module, *rest = arguments
    be_first_to_go()
    limit_files()
    resident_bytes()  # its source stays open
    if confinement != OPEN:
        from modelyard.scoring.child.confinement import Confinement

        Confinement.from_json(confinement).enter()
    return int(import_module(module).main(rest))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
