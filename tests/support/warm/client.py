"""A command of this file's name, run by the server in its folder: same arguments, same end.

Standard library only, and little of it: this starts in a hundredth of a second.
"""

import json
import os
import signal
import socket
import sys

MODULES = {"modelyard": "modelyard.cli.main", "dvc": "dvc"}


def main() -> None:
    request = {
        "module": MODULES[os.path.basename(sys.argv[0])],  # noqa: PTH119 - pathlib is slow to import
        "arguments": sys.argv[1:],
        "environment": dict(os.environ),
        "folder": os.getcwd(),  # noqa: PTH109
    }
    with socket.socket(socket.AF_UNIX) as server:
        server.connect(os.path.join(os.path.dirname(sys.argv[0]), "server"))  # noqa: PTH118, PTH120
        socket.send_fds(server, [b"."], [0, 1, 2])
        server.sendall(json.dumps(request).encode() + b"\n")
        answers = server.makefile()
        command = int(answers.readline())
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda given, _: os.kill(command, given))
        code = int(answers.readline())
    if code < 0:
        signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code)


main()
