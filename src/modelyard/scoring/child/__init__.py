"""Models that are code: each runs in a process of its own, which may crash, hang or leak.

    server                                               child
    opening.py      from files to a runner               worker.py   its main loop
    runner.py       what the server calls                model.py    the model, loaded by MLflow
    pool.py         the children, replaced as they end   guard.py    memory limit, death with
    supervision.py  deaths and pace, as numbers                      the server
    process.py      one child, for threads
    channel.py      one child, for the event loop
    columns.py      what a model is given        vocabulary.py  strings that the model knows
    outputs.py      what it says that it answers
                          wire.py   the messages between them

    oversight.py    what a child and all that it starts may take; scratch.py, its folder
    confined.py     where a child begins: it gives up what confinement.py does not list, by means
                    of landlock.py, seccomp.py, which refuses syscalls.py, and semaphores.py

`model.py` alone needs MLflow; nothing here but the child imports it.
"""
