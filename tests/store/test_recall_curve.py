"""The recall curve: fewest probes that reach a recall, and its JSON of every age."""

from mkt_search.store.recall_curve import RecallCurve, RecallPoint


def points(*pairs: tuple[int, float]) -> tuple[RecallPoint, ...]:
    return tuple(RecallPoint(*pair) for pair in pairs)


CURVE = RecallCurve(
    {
        "single": {10: points((100, 0.9), (200, 0.99)), 100: points((100, 0.5), (400, 0.97))},
        "multi": {10: points((50, 0.9), (800, 1.0))},
    }
)


def test_the_fewest_probes_that_reach_the_recall_are_given() -> None:
    assert CURVE.probes_for("single", 5, 0.9) == (100, 0.9)
    assert CURVE.probes_for("single", 10, 0.95) == (200, 0.99)
    assert CURVE.probes_for("single", 11, 0.9) == (400, 0.97)
    assert CURVE.probes_for("single", 10, 0.999) is None
    assert CURVE.probes_for("negated", 10, 0.9) is None
    assert RecallCurve({}).probes_for("single", 1, 0.5) is None


def test_probes_grow_with_k_beyond_the_largest_depth() -> None:
    assert CURVE.probes_for("single", 200, 0.9) == (800, 0.97)


def test_several_labels_use_at_least_the_probes_of_one() -> None:
    assert CURVE.probes_for("multi", 10, 0.95) == (800, 1.0)
    assert CURVE.probes_for("multi", 10, 0.9) == (100, 0.9)
    assert CURVE.probes_for("multi", 10, 0.999) is None  # which one label does not reach


def test_a_search_uses_the_next_depth_that_was_measured() -> None:
    assert [CURVE.depth_for(k) for k in (1, 10, 11, 100, 101)] == [10, 10, 100, 100, 101]


def test_a_curve_comes_back_from_its_json() -> None:
    assert RecallCurve.of_data(CURVE.as_data()) == CURVE


def test_curves_of_older_databases_are_read() -> None:
    single = {10: points((100, 0.9))}
    assert RecallCurve.of_data({"10": [[100, 0.9]]}) == RecallCurve({"single": single})
    old = {"one": {"10": [[100, 0.9]]}, "several": {"10": []}, "unwanted": {"10": [[200, 0.8]]}}
    assert RecallCurve.of_data(old) == RecallCurve(
        {"single": single, "multi": {10: ()}, "negated": {10: points((200, 0.8))}}
    )
