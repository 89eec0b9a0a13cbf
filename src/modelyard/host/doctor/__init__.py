"""`make doctor`: whether this machine can run the stack, and what to do where it cannot.

    PYTHONPATH=src python3 -m modelyard.host.doctor     every check; 1 when a needed one fails
        --json                                     the same for programs
        --compose-file                             COMPOSE_FILE for training here, and no check

Looking (`facts.py`) and judging (`checks.py`) are apart, so that the judgement is tested without a
host.
"""
