"""`python -m mkt_search` is `mkt`."""

from mkt_search.cli import main

main()
