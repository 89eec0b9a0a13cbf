"""Healthcheck of the MLflow server: one search for experiments, which has to ask the database.

(/health answers OK even while the database is gone.) Standard library only, so that it costs a
few dozen milliseconds and not the import of MLflow.
"""

# ruff: noqa: INP001 - a script for a container

import http.client
import sys
from http import HTTPStatus

connection = http.client.HTTPConnection("127.0.0.1", 5000, timeout=4)
connection.request("GET", "/api/2.0/mlflow/experiments/search?max_results=1")
response = connection.getresponse()
if response.status != HTTPStatus.OK:
    sys.exit(f"expected 200 from a search for experiments, found {response.status}")
