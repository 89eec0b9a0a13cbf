"""Models as notebooks log them, most of them without an example, and what is to become of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow.pyfunc
import mlflow.sklearn
import numpy as np
import pandas as pd
from mlflow.models import infer_signature
from sklearn.calibration import CalibratedClassifierCV
from sklearn.cluster import KMeans
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import IsolationForest, RandomForestClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression, RidgeClassifier
from sklearn.model_selection import GridSearchCV
from sklearn.multioutput import MultiOutputClassifier, MultiOutputRegressor
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler
from sklearn.svm import LinearSVC

RANDOM = np.random.default_rng(5)
X = pd.DataFrame({"a": RANDOM.normal(size=60), "b": RANDOM.normal(size=60)})
SHOPS = X.assign(shop=RANDOM.choice(["north", "south", "west"], 60))
NUMBER = (X["a"] + X["b"]).to_numpy()
BINARY = (NUMBER > 0).astype(int)
WORDS = np.where(BINARY, "fraud", "fine")


@dataclass(frozen=True)
class Wild:
    """A model and what becomes of it.

    Attributes:
        save: writes the version's files.
        expected: the kind of its answers, or words of the refusal.
        is_served: whether it is.
        asked: a row that it has to answer.
    """

    save: Callable[[Path], None]
    expected: str
    is_served: bool = True
    asked: pd.DataFrame | None = None


def fitted(model: Any, y: Any, data: pd.DataFrame = X, *, with_outputs: bool = True) -> Any:
    """Saves `model`, fitted, with the signature that the tutorials infer, and no example."""
    model.fit(data, y)
    outputs = model.predict(data) if with_outputs else None

    def save(folder: Path) -> None:
        mlflow.sklearn.save_model(
            model,
            folder,
            signature=infer_signature(data, outputs),
            pip_requirements=["scikit-learn"],
            serialization_format="cloudpickle",
        )

    return save


def served(model: Any, y: Any, kind: str, data: pd.DataFrame = X) -> Wild:
    return Wild(fitted(model, y, data), kind, asked=data.head(1))


def refused(model: Any, y: Any, words: str, *, with_outputs: bool = True) -> Wild:
    return Wild(fitted(model, y, with_outputs=with_outputs), words, is_served=False)


class Answering(mlflow.pyfunc.PythonModel):
    """Answers what `answer` makes of a DataFrame."""

    def __init__(self, answer: Callable[[pd.DataFrame], Any]) -> None:
        self._answer = answer

    def predict(self, context, model_input, params=None):  # noqa: ARG002 - MLflow's names
        return self._answer(model_input)


def answering(
    answer: Callable[[pd.DataFrame], Any], data: pd.DataFrame = X, example: Any = None
) -> Callable[[Path], None]:
    """Saves a PythonModel whose signature says nothing of outputs."""

    def save(folder: Path) -> None:
        mlflow.pyfunc.save_model(
            folder,
            python_model=Answering(answer),
            signature=infer_signature(data),
            input_example=example,
            pip_requirements=["mlflow-skinny"],
        )

    return save


def code(answer: Callable[[pd.DataFrame], Any], words: str) -> Wild:
    return Wild(answering(answer), words, is_served=False)


def picky(frame: pd.DataFrame) -> Any:
    """A rule of the business: only positive amounts."""
    if (frame["a"] <= 0).any() or (frame["b"] <= 0).any():
        raise ValueError("amounts are positive")
    return frame["a"] / frame["b"]


def pickiest(frame: pd.DataFrame) -> Any:
    if not frame["shop"].isin(["north", "south"]).all():
        raise ValueError("no such shop")
    return frame["a"]


def encoder(steps: Any) -> Any:
    return make_pipeline(
        ColumnTransformer([("shop", steps, ["shop"])], remainder=StandardScaler()),
        LogisticRegression(),
    )


def cases() -> dict[str, Wild]:
    pair = np.column_stack([NUMBER, -NUMBER])
    labels = np.column_stack([BINARY, 1 - BINARY])
    three = np.digitize(NUMBER, [-1, 1])
    text = pd.DataFrame({"text": ["good day", "bad day", "good night"] * 4})
    grid = GridSearchCV(encoder(OneHotEncoder()), {"logisticregression__C": [1.0]}, cv=2)
    tfidf = ColumnTransformer([("text", TfidfVectorizer(), "text")])
    frames = ColumnTransformer([("all", StandardScaler(), ["a", "b"])])
    frames.set_output(transform="pandas")
    return {
        # served: with the answers that are expressed today
        "string labels": served(LogisticRegression(), WORDS, "probability"),
        "three labels": served(GaussianNB(), three, "class_probabilities"),
        "calibrated labels": served(
            CalibratedClassifierCV(LinearSVC(), cv=2), WORDS, "probability"
        ),
        "clusters": served(KMeans(2, n_init=1), None, "value"),
        "outliers": served(IsolationForest(n_estimators=5), None, "value"),
        "labels that are numbers": served(RidgeClassifier(), BINARY, "value"),
        "a pipeline with pandas output": served(
            make_pipeline(frames, LinearRegression()), NUMBER, "value"
        ),
        "a target that is transformed": served(
            TransformedTargetRegressor(LinearRegression(), transformer=StandardScaler()),
            NUMBER,
            "value",
        ),
        "categories that are refused when unknown": served(
            encoder(OneHotEncoder()), BINARY, "probability", SHOPS
        ),
        "categories behind an imputer": served(
            encoder(make_pipeline(SimpleImputer(strategy="most_frequent"), OrdinalEncoder())),
            BINARY,
            "probability",
            SHOPS,
        ),
        "a search over a pipeline": served(grid, BINARY, "probability", SHOPS),
        "text": served(
            make_pipeline(tfidf, LogisticRegression()), [1, 0, 1] * 4, "probability", text
        ),
        "one column of a frame": Wild(
            answering(lambda x: pd.DataFrame({"y": x["a"] * 2})), "value", asked=X.head(1)
        ),
        "a list": Wild(answering(lambda x: list(x["a"])), "value", asked=X.head(1)),
        "a column of one number a row": Wild(
            answering(lambda x: x[["a"]].to_numpy()), "value", asked=X.head(1)
        ),
        "long doubles": Wild(
            answering(lambda x: x["a"].to_numpy().astype(np.longdouble)), "value", asked=X.head(1)
        ),
        "decisions": Wild(answering(lambda x: x["a"] > 0), "value", asked=X.head(1)),
        "a rule that some rows break": Wild(answering(picky), "value", asked=X.head(1).abs()),
        "a rule with an example": Wild(
            answering(pickiest, SHOPS, SHOPS.assign(shop="south").head(2)),
            "value",
            asked=SHOPS.assign(shop="north").head(1),
        ),
        # refused: with the reason
        "two targets": refused(MultiOutputRegressor(LinearRegression()), pair, "[-1, 2]"),
        "two targets, unsaid": refused(LinearRegression(), pair, "[1, 2]", with_outputs=False),
        "many labels": refused(MultiOutputClassifier(LogisticRegression()), labels, "[-1, 2]"),
        "many labels of a forest": refused(
            RandomForestClassifier(3), labels, "[1, 2]", with_outputs=False
        ),
        "labels without probabilities": refused(LinearSVC(), WORDS, "predict_proba"),
        "labels without probabilities, unsaid": refused(
            RidgeClassifier(), WORDS, "answers a ndarray of", with_outputs=False
        ),
        "one class": refused(DummyClassifier(), ["fine"] * 60, "tensor of"),
        "two columns": code(lambda x: pd.DataFrame({"p": x["a"], "q": x["b"]}), "shape [1, 2]"),
        "a dict": code(lambda x: {"p": list(x["a"])}, "answers a dict"),
        "texts": code(lambda x: ["yes"] * len(x), "answers a list of"),
        "numbers as text": code(lambda x: ["1"] * len(x), "answers a list of"),
        "numbers as objects of text": code(
            lambda x: pd.Series(["1"] * len(x), dtype=object), "answers a Series of str"
        ),
        "nothing": code(lambda _: None, "answers nothing"),
        "nothing a row": code(lambda x: [None] * len(x), "not a finite number"),
        "a generator": code(lambda x: (v for v in x["a"]), "answers a generator"),
        "not a number": code(lambda x: x["a"] * np.nan, "not a finite number"),
        "one number for all": code(lambda x: float(x["a"].sum()), "answers a float"),
        "a sum": code(lambda x: [float(x["a"].sum())], "[1]"),
        "a row's neighbours": code(
            lambda x: x["a"] * len(x) + 1, "differently alone and in a batch"
        ),
        "times": code(lambda x: pd.to_datetime(x["a"], unit="s"), "answers a Series of datetime"),
        "too many answers": code(lambda x: [*x["a"], 0.0], "[2]"),
        "lists of their own lengths": code(
            lambda x: [[0.0] * (i + 1) for i in range(len(x) + 1)], "differ in shape"
        ),
        "a rule that every made row breaks": Wild(
            answering(pickiest, SHOPS), "log_model(…, input_example=…)", is_served=False
        ),
    }
