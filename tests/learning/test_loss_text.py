"""Losses as people write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from geoseg.grid.legend import Task
from geoseg.learning.loss_text import NAMES, LossConfig, Term, default_terms, parse

shares = st.floats(1e-5, 1e5).map(lambda share: float(f"{share:f}"))


@given(
    st.lists(st.sampled_from(NAMES), min_size=1, unique=True).flatmap(
        lambda n: st.tuples(*[st.builds(Term, name=st.just(x), share=shares) for x in n])
    )
)
def test_what_is_written_reads_back(terms: tuple[Term, ...]) -> None:
    assert parse(" + ".join(map(str, terms))) == terms


@given(st.text(alphabet="0123456789.*+ -ecbdi\n", max_size=12))
def test_any_text_is_read_or_refused_in_one_line(text: str) -> None:
    said = ""
    try:
        assert len(parse(text)) == text.count("+") + 1
    except ValueError as error:
        said = str(error)
    assert "\n" not in said


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("dice", [("dice", 1)]),
        ("bce+dice", [("bce", 1), ("dice", 1)]),
        (" 0.7*ce + .3 * lovasz", [("ce", 0.7), ("lovasz", 0.3)]),
        ("2 *focal", [("focal", 2)]),
    ],
)
def test_sums(text: str, terms: list[tuple[str, float]]) -> None:
    assert [(term.name, term.share) for term in parse(text)] == terms


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "'' is not a loss, expected ce, bce, dice"),
        ("ce +", "'' is not a loss"),
        ("ce dice", "'ce dice' is not a loss"),
        ("ce - dice", "'ce - dice' is not a loss"),
        ("ce*2", r"'ce\*2' is not a loss"),
        ("-1*ce", r"'-1\*ce' is not a loss"),
        ("cross_entropy + dice", "no loss is called 'cross_entropy', expected ce, bce"),
        ("0.0*ce", "multiplied by 0.0"),
        ("9" * 400 + "*ce", "expected a number above 0"),
        ("ce + dice + ce", "ce stands twice"),
    ],
)
def test_what_is_wrong_is_said(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        parse(text)
    with pytest.raises(ValidationError, match=said):
        LossConfig.model_validate(text)


@pytest.mark.parametrize("task", ["multiclass", "binary", "multilabel"])
def test_a_task_has_its_own_default(task: Task) -> None:
    settled = LossConfig().settled(task)
    assert settled.terms == default_terms(task)
    assert settled.settled(task) == settled


def test_options_are_filled_in_where_they_are_used() -> None:
    settled = LossConfig(terms="focal + tversky", tversky_beta=0.5).settled("binary")
    assert (settled.focal_gamma, settled.tversky_alpha, settled.tversky_beta) == (2.0, 0.3, 0.5)
    assert LossConfig(terms="dice").settled("binary").focal_gamma is None


@pytest.mark.parametrize(
    ("fields", "task", "said"),
    [
        ({"terms": "bce"}, "multiclass", "train.loss: bce is not for multiclass tasks, expected ce"),
        ({"terms": "dice + ce"}, "multilabel", "ce is not for multilabel tasks, expected bce"),
        (
            {"terms": "dice", "class_weights": 0.5},
            "binary",
            "train.loss.class_weights is of ce, bce, focal, .* is dice",
        ),
        ({"terms": "focal", "label_smoothing": 0.1}, "binary", "label_smoothing is of ce, bce"),
        ({"focal_gamma": 0.0}, "binary", r"focal_gamma is of focal, and the loss is bce \+ dice"),
        ({"terms": "dice", "tversky_alpha": 0.5}, "binary", "tversky_alpha is of tversky"),
    ],
)
def test_options_without_a_use_are_refused(fields: dict[str, object], task: Task, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        LossConfig.model_validate(fields).settled(task)
