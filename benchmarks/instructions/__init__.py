"""Instructions that the server executes for a request, counted by valgrind for two source trees.

No timing on a shared machine can tell 3 %; the number of instructions can. The server is the one
that serves, `python -m modelyard.serving`, asked over a socket by this process, so the two trees
share nothing but the interpreter, its packages, the models and the questions.
"""
