"""Of an audit that is asked of each sequence alone, the worst answer counts and all figures are listed."""

from medaug.audits.measures.finding import Finding, Limits, Question, worst_of

ASKED = Question("seams", "Is there a step?")


def answer(value: float, *, warn: float = 1.5, fail: float = 2.5) -> Finding:
    return ASKED.judged(f"A step of {value:g}.", value, Limits(warn, fail))


def test_the_worst_by_its_own_limits_counts_and_all_are_listed():
    found, number = worst_of(["t1", "flair", "t2"], [answer(2), answer(1.9, fail=1.8), answer(1)])
    assert (found.verdict, found.value, number) == ("fail", 1.9, 1) and found.sentence == "flair: A step of 1.9."
    assert found.each == {"t1": 2, "flair": 1.9, "t2": 1}


def test_a_small_figure_is_the_worst_where_low_is_bad():
    found, _ = worst_of(
        ["t1", "flair"], [ASKED.judged("Varied.", v, Limits(1, 0.7), higher_is_worse=False) for v in (2, 0.9)]
    )
    assert found.value == 0.9 and found.verdict == "warn"


def test_a_sequence_that_cannot_be_asked_is_told_and_the_others_are_judged():
    found, _ = worst_of(["t1", "flair"], [ASKED.skipped("no contrast"), answer(1)])
    assert found.verdict == "pass" and found.each == {"flair": 1} and "t1: no contrast." in found.sentence
    none, _ = worst_of(["t1", "flair"], [ASKED.skipped("no contrast")] * 2)
    assert none == ASKED.skipped("no contrast")


def test_one_sequence_alone_answers_for_itself():
    assert worst_of(["flair"], [answer(2)]) == (answer(2), 0)
