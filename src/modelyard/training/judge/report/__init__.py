"""What is found out about a model on held-out rows, and the page that shows it."""

from modelyard.training.judge.report.evaluation import Evaluation, evaluate_model

__all__ = ["Evaluation", "evaluate_model"]
