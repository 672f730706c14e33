"""The summary of the study, in computed sentences."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import fmean

from nas_lightning.studies.plan import RANDOM
from nas_lightning.studies.report.analysis import Analysis
from nas_lightning.studies.report.contrasts import Contrast
from nas_lightning.studies.report.numbers import (
    coefficient,
    count,
    interval,
    listed,
    percent,
    probability,
)
from nas_lightning.studies.report.page import Section
from nas_lightning.studies.report.proxies import ALL, CLEAR, Coefficients, strength
from nas_lightning.studies.report.sections.ranking import taus
from nas_lightning.studies.report.sections.runs import state
from nas_lightning.studies.report.sections.standing import regrets
from nas_lightning.studies.surrogate import WHAT

MANY = 6
"""With more methods or comparisons than this, sentences leave out what a table below has."""
PROXY_WORDS = {
    "against": "The one-shot metric falls when the final metric rises",
    "does not": "In these searches, the one-shot metric does not reflect the final metric",
    "weakly": "The one-shot metric weakly reflects the final metric",
    "clearly": "The one-shot metric clearly reflects the final metric",
}


def section(a: Analysis) -> Section:
    """Summarise what is missing, medians, differences, proxies, collapse and agreement."""
    reading = (
        "These sentences are computed from the runs. They report medians and intervals, never the "
        "best of several runs."
    )
    words = [
        *_predicted(a),
        *_missing(a),
        *_medians(a),
        *_differences(a),
        *_one_shot(a),
        *_ranking(a),
        *_collapse(a),
        *_agreement(a),
        *_standing(a),
    ]
    return Section("Summary", reading, tuple(words))


def _predicted(a: Analysis) -> list[str]:
    if a.prediction is None:
        return []
    return [f"No cell was trained: the final metric is the {WHAT}, whose error is stated below."]


def _missing(a: Analysis) -> list[str]:
    if not a.results.runs:
        return ["No runs are planned."]
    if not a.missing:
        return []
    states = [
        "not yet retrained" if (name := state(run)).endswith("retrained") else name
        for run in a.missing
    ]
    kinds = listed([f"{states.count(name)} {name}" for name in dict.fromkeys(states)])
    return [
        f"{len(a.missing)} of {count(len(a.results.runs), 'run')} "
        f"{'has' if len(a.missing) == 1 else 'have'} no final metric: {kinds}. "
        "Everything below is about the others."
    ]


def _medians(a: Analysis) -> list[str]:
    ended = {method: s for method, s in a.summaries.items() if s.n}
    if not ended:
        return ["No run has finished yet."]
    if len(ended) > MANY:
        medians = [(s.median, method) for method, s in ended.items() if s.median is not None]
        medians.sort(key=lambda each: each[0], reverse=a.results.higher_is_better)
        shown = "; ".join(f"{method} {a.scale.show(median)}" for median, method in medians)
        return [f"Median final {a.scale.label}, from the best to the worst: {shown}."]
    parts = [
        f"{method} {a.scale.show(s.median)}{a.scale.unit} (IQR {a.scale.show(s.iqr)}, n = {s.n})"
        for method, s in ended.items()
    ]
    return [f"Median final {a.scale.name}: {'; '.join(parts)}."]


def _differences(a: Analysis) -> list[str]:
    tested = [contrast for contrast in a.contrasts if contrast.comparison.n]
    if not tested:
        return []
    if len(tested) <= MANY:
        return [_contrast(a, contrast) for contrast in tested]
    apart = [contrast for contrast in tested if contrast.told_apart]
    rest = len(tested) - len(apart)
    words = [_contrast(a, contrast) for contrast in apart]
    if rest:
        words.append(
            f"{rest} of {len(tested)} differences may be due to chance; the table below lists how "
            "many pairs each comparison would need."
        )
    return words


def _contrast(a: Analysis, contrast: Contrast) -> str:
    c = contrast.comparison
    names = ["the random cells" if name == RANDOM else name for name in (c.first, c.second)]
    assert c.difference is not None
    size = f"{a.scale.show(abs(c.difference))}{a.scale.difference_unit}"
    if contrast.told_apart:
        better = (c.difference > 0) == a.results.higher_is_better
        first, second = names if better else reversed(names)
        between = interval(a.scale.signed(c.low), a.scale.signed(c.high))
        return (
            f"{_capital(first)} {_verb(first, 'is', 'are')} better than {second} by {size} on "
            f"average (95 % interval of the difference {between}; p = "
            f"{probability(contrast.adjusted).replace('< ', '<')} after Holm, n = {c.n} pairs)."
        )
    chance = f"{_capital(count(c.n, 'pair'))} of runs cannot tell {listed(names)} apart"
    if not c.difference:
        return f"{chance}: their means are equal."
    p = f"p = {probability(contrast.adjusted).replace('< ', '<')} after Holm"
    needed = contrast.pairs_needed
    if needed is None:
        return f"{chance} (difference {size}, {p})."
    if needed <= c.n:
        return (
            f"{chance} (difference {size}, {p}); {needed} pairs could suffice for this difference "
            "alone, without the correction for several comparisons."
        )
    return f"{chance} (difference {size}, {p}): {needed:,} pairs would be needed."


def _one_shot(a: Analysis) -> list[str]:
    found = a.correlations["one_shot"]
    name = ALL if ALL in found else next(iter(found), None)
    if name is None or not found[name][2].n:
        return []
    tau = found[name][2]
    found_strength = strength(tau)
    if found_strength == "undefined":
        why = tau.note or "no reason is known"
        return [
            f"The correlation of the one-shot metric with the final metric is undefined: {why}."
        ]
    between = interval(coefficient(tau.low), coefficient(tau.high))
    return [
        f"{PROXY_WORDS[found_strength]} (Kendall's τ = "
        f"{coefficient(tau.value)}, 95 % interval {between}, n = {count(tau.n, 'search')} of "
        f'{name}). The words follow a rule: "does not" if the interval contains 0, "weakly" if '
        f'the interval is above 0 and τ is below {CLEAR}, "clearly" if the interval is above 0 '
        f"and τ is {CLEAR} or more.",
        *([_within(found)] if name == ALL else []),
    ]


def _within(found: Mapping[str, Coefficients]) -> str:
    """Describe each method alone; methods together may only reflect that the methods differ."""
    each = {method: (strength(c[2]), c[2]) for method, c in found.items() if method != ALL}
    parts = [
        f"{method} {word} ({coefficient(tau.value)}, n = {tau.n})"
        for method, (word, tau) in each.items()
        if word != "undefined"
    ]
    if len(parts) < len(each):
        others = "the others" if parts else "all of them"
        parts.append(f"undefined for {others}")
    return f"Within each method, by the same rule and with its τ: {'; '.join(parts)}."


def _ranking(a: Analysis) -> list[str]:
    means = {method: taus(a, method) for method in a.searches}
    parts = [
        f"{method} {coefficient(fmean(values))}"
        + ("" if len(means) > MANY else f" (n = {len(values)})")
        for method, values in means.items()
        if values
    ]
    return [f"Mean τ of supernets over the random cells: {'; '.join(parts)}."] if parts else []


def _collapse(a: Analysis) -> list[str]:
    ended = [m for m in a.searches if any(run.genotype is not None for run in a.results.of(m))]
    if not ended:
        return []
    flagged = {(c.run.method, c.run.seed) for c in a.collapses}
    if not flagged:
        return ["No search collapsed to skip connections."]
    parts = [
        f"{sum(name == method for name, _ in flagged)} of {a.agreements[method].runs} of {method}"
        for method in ended
        if any(name == method for name, _ in flagged)
    ]
    return [
        "Searches that collapsed, with skip connections on more than half of a cell's kept edges: "
        f"{listed(parts)}."
    ]


def _agreement(a: Analysis) -> list[str]:
    parts = [
        f"{'random cells' if method == RANDOM else method} {percent(made.agreement)}"
        for method, made in a.agreements.items()
        if made.agreement is not None
    ]
    if not parts:
        return []
    return [f"Mean share of a node's inputs that two cells of a method both keep: {listed(parts)}."]


def _standing(a: Analysis) -> list[str]:
    parts = [
        f"{method} {a.scale.show(fmean(values))}"
        for method in a.results.methods
        if (values := regrets(a, method))
    ]
    return [f"Mean regret against the best cell, in points: {'; '.join(parts)}."] if parts else []


def _capital(text: str) -> str:
    """Capitalise the start of a sentence, but not the name of a method."""
    return f"T{text[1:]}" if text.startswith("the random") else text


def _verb(subject: str, one: str, several: str) -> str:
    return several if subject.startswith("the random") else one
