"""How fast models are served, here and by others: `python -m benchmarks.serving`.

environments  a virtual environment a contestant     models     what is served, by everybody
registry      the MLflow server we follow             servers    one server under test
contestants   who serves what, and how               dialects   how each is asked
agreement     the same answers from all, first        load       64 connections, or one
throughput · coldstart · bulk · swap                  the runs
report · plot                                         the README's table and picture
"""
