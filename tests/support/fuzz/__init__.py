"""A fuzzer of the server: streams of requests, broken on purpose at every layer.

It knows two things of its own: how valid requests are made and broken (`grammar`, `mutation`,
`framing`), and what the toy model has to answer to what came out of that (`reference`). A case is
the number of a seed, so it can be made again alone, and made smaller when it fails.
"""
