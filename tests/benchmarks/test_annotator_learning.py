"""Seconds on drafts of learning at Accept: both drafts of a case are compared, if both could be mended."""

import annotator_learning


def make_row(n: int, live: int, learning: int, *, reached: bool = True) -> annotator_learning.Row:
    looks = {"live": live, "learning": learning}
    drafts = {
        key: {"first": 0.5, "reached": reached, "zoom": 1.0, "effort": {"looks": count}} for key, count in looks.items()
    }
    return {"trial": "lungs", "seed": 0, "n": n, **drafts}


def test_only_cases_that_reach_the_goal_from_both_drafts_are_compared() -> None:
    rows = [make_row(4, 10, 5), make_row(8, 10, 10), make_row(8, 1, 100, reached=False)]
    table = annotator_learning.format_table(rows)
    assert "| lungs | 4 | 1 | 0.500, 0.500 | 15.0, 7.5 | 0.50 (0.50-0.50) |" in table
    assert "| lungs | all | 2 | 0.500, 0.500 | 15.0, 11.2 | 0.75 (0.75-0.75) |" in table
    assert annotator_learning.format_table(rows[2:]).count("\n") == 1
