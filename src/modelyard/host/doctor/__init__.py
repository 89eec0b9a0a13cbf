"""`make doctor`: whether this machine can run the stack, and what to do where it cannot.

    PYTHONPATH=src python3 -m modelyard.host.doctor     every check; 1 when a needed one fails
        --json                                     the same for programs
        --compose-file                             COMPOSE_FILE for training here, and no check

Standard library only, and any Python from 3.8: it has to run before anything is installed.
Looking (`host.py`) and judging (`checks.py`) are apart, so that the judgement is tested without a
host.
"""
