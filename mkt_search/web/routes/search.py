"""Search for photos."""

from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Query
from typing_extensions import TypedDict

from mkt_search.days import first_moment
from mkt_search.errors import QueryError
from mkt_search.json_forms import hits as hits_as_json
from mkt_search.json_forms.hits import ExpectedData, HitData
from mkt_search.search import query as queries
from mkt_search.search.search import Explanation
from mkt_search.types import Filters, Hit, Term
from mkt_search.web.pictures import PictureData, pictures
from mkt_search.web.serving import Served, Serving
from mkt_search.web.texts import PhotoId, Text

MAX_HITS = 10_000
MAX_LIKE = 20

router = APIRouter(tags=["search"])
InQuery = Annotated[Text, Query()]
Share = Annotated[float, Query(gt=0, le=1)]


class HitOnPage(HitData, PictureData):
    """A hit, and what a page needs to show it."""


class SearchData(TypedDict):
    """The hits of a search, best first.

    `match` says whether the library shows what is asked for at all; "none" comes with the nearest
    labels that it does show. `expected` is of hits with p; `no_p` is why they have none.
    """

    query: str
    match: Literal["yes", "none", "unknown"] | None
    nearest: list[str]
    expected: ExpectedData | None
    no_p: str | None
    milliseconds: dict[str, float]
    hits: list[HitOnPage]


def photo_filters(
    path: InQuery | None = None,
    after: InQuery | None = None,
    before: InQuery | None = None,
    tag: InQuery | None = None,
    camera: InQuery | None = None,
) -> Filters:
    """Read the filters that routes share; dates are 2024, 2024-05 or 2024-05-17."""
    return Filters(
        path=path or None,
        after=first_moment(after) if after else None,
        before=first_moment(before) if before else None,
        tag=tag or None,
        camera=camera or None,
    )


PhotoFilters = Annotated[Filters, Depends(photo_filters)]


@router.get("/search")
def get_search(
    serving: Served,
    filters: PhotoFilters,
    q: InQuery = "",
    like: Annotated[list[PhotoId], Query(max_length=MAX_LIKE)] = [],  # noqa: B006
    k: Annotated[int, Query(ge=1, le=MAX_HITS)] = 100,
    precision: Share | None = None,
    min_p: Share | None = None,
) -> SearchData:
    """Find the photos that show a query such as `2*dog + beach - person`, best first.

    With `like`, the ids of photos, find those that look alike. `k` is the most hits wanted.
    """
    library = serving.library
    terms = queries.parse(q) if q.strip() else []
    terms += [Term(photo=library.photo(id_).path) for id_ in like]
    if not terms:
        raise QueryError("Say what to look for: a query, or photos that it should look like.")
    explanation = Explanation()
    hits = library.search(
        terms, k=k, precision=precision, min_p=min_p, filters=filters, explanation=explanation
    )
    nearest: list[str] = []
    if explanation.match == "none" and terms[0].label is not None:
        nearest = library.nearest_shown(terms[0].label, filters=filters)
    return {
        "query": queries.describe(terms),
        "match": explanation.match,
        "nearest": nearest,
        "expected": hits_as_json.expected(hits) if any(h.p is not None for h in hits) else None,
        "no_p": explanation.no_p or None,
        "milliseconds": explanation.milliseconds,
        "hits": _on_page(serving, hits),
    }


def _on_page(serving: Serving, hits: list[Hit]) -> list[HitOnPage]:
    shown = pictures(serving, [hit.photo_id for hit in hits])
    return [{**hits_as_json.as_data(h), **shown[h.photo_id]} for h in hits if h.photo_id in shown]
