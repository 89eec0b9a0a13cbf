"""A project as unlike the example as can be: three classes, a torch network, a split by time.

It lives in the tests to prove that `src/modelyard` knows nothing of fraud.
"""

from __future__ import annotations

from machine_state import dataset, model
from machine_state.contract import CONTRACT
from modelyard.training.project import DataRules, Project

PROJECT = Project(
    contract=CONTRACT,
    target="state",
    fit_config=model.FitConfig,
    load=dataset.load,
    split=dataset.split,
    fit=model.fit,
    fit_stream=model.fit_stream,
    baseline=model.fit_baseline,
    generate=dataset.generate,
    rules=DataRules(row_key=("machine", "at")),
)
