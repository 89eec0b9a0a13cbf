"""The example project: fraud detection on card transactions. A fork replaces this package."""

from fraud_detector import dataset, model
from fraud_detector.contract import CONTRACT, TARGET
from modelyard.training.project import Project

PROJECT = Project(
    contract=CONTRACT,
    target=TARGET,
    fit_config=model.FitConfig,
    load=dataset.load,
    split=dataset.split,
    fit=model.fit,
    baseline=model.fit_baseline,
    generate=dataset.generate,
    best_scores=dataset.fraud_probability,
)
