"""The surrogate that predicts the final metric, if there is one."""

from __future__ import annotations

from nas_lightning.studies.report.analysis import Analysis
from nas_lightning.studies.report.numbers import count, listed
from nas_lightning.studies.report.page import Section
from nas_lightning.studies.surrogate import PROTOCOL, RULE, WHAT, describe_error


def section(a: Analysis) -> Section:
    """Say what is predicted, how well the surrogate ranks cells, and which cells are flagged."""
    title = "Predicted accuracies"
    reading = (
        "The cells were not trained. Intervals and tests of this report contain the differences "
        "between searches, but not the error of the surrogate."
    )
    found = a.prediction
    if found is None:
        return Section(title, reading)
    names = listed([f"{method} {seed}" for method, seed in found.flagged])
    flagged = (
        f"{count(len(found.flagged), 'cell')} flagged ({names}): {RULE}."
        if found.flagged
        else f"No cell is flagged. The rule: {RULE}."
    )
    words = (
        f"The final metric is the {WHAT}: {PROTOCOL}.",
        f"{found.model}: {describe_error(found.error)}.",
        flagged,
    )
    return Section(title, reading, words)
