"""The example project: fraud detection on card transactions. A fork replaces this package."""

from fraud_detector import dataset, model
from fraud_detector.contract import CONTRACT, TARGET
from modelyard.training.project import DataRules, Project

PROJECT = Project(
    contract=CONTRACT,
    target=TARGET,
    fit_config=model.FitConfig,
    load=dataset.load,
    split=dataset.split,
    fit=model.fit,
    fit_stream=model.fit_stream,
    baseline=model.fit_baseline,
    generate=dataset.generate,
    best_scores=dataset.fraud_probability,
    rules=DataRules(
        row_key=("transaction_id",), split_key=("transaction_id",), label_rate=(0.001, 0.2)
    ),
)
