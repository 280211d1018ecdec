"""How a library is served."""

from mkt_search.web.serving import Options


def test_the_token_is_not_shown_when_options_are_printed() -> None:
    assert "secret" not in repr(Options("secret"))
