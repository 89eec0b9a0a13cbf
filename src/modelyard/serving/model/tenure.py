"""What became of the requests that a version was given since it was taken up."""

from __future__ import annotations

_MANY = 20


class Tenure:
    """Answers and failures of one version. Used from the event loop's thread only.

    Attributes:
        answers: requests that were answered.
        failures: requests on which the model failed, or gave no answer.
        last_failure: what the last of them was refused with.
    """

    __slots__ = ("_answers_at_last_failure", "_streak", "answers", "failures", "last_failure")

    def __init__(self) -> None:
        self.answers = 0
        self.failures = 0
        self.last_failure = ""
        self._streak = 0
        self._answers_at_last_failure = 0

    def fail(self, kind: str) -> None:
        """One more request failed; `answers` has to be up to date."""
        self.failures += 1
        self.last_failure = kind
        if self.answers != self._answers_at_last_failure:
            self._answers_at_last_failure = self.answers
            self._streak = 0
        self._streak += 1

    @property
    def trouble(self) -> str:
        """Why the version is called failing, as the end of a sentence; empty while it is not.

        It is when it has failed on every request, or on many in a row up to the last one.
        """
        if self._streak == 0 or self.answers != self._answers_at_last_failure:
            return ""
        last = f"; the last was refused as {self.last_failure}"
        if self.answers == 0:
            every = "the one request" if self.failures == 1 else f"all {self.failures} requests"
            return f"has failed on {every} since it was taken up{last}"
        return f"has failed on the last {self._streak} requests{last}" * (self._streak >= _MANY)
