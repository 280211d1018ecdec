"""Who may ask, and what is refused: one test for each way in."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from mkt_search.web.app import PAGES
from mkt_search.web.security import Access, same
from tests.web.client import ADDRESS, BEARER, TOKEN, ask, client_of, request_head, running

STATUS = "/api/v1/status"
EVERYTHING = [*PAGES, STATUS, "/api/v1/openapi.json", "/static/app.js", "/thumbnails/0/256.webp"]


@pytest.mark.parametrize("path", EVERYTHING)
def test_nothing_is_answered_without_a_token(stranger: TestClient, path: str) -> None:
    answer = stranger.get(path)
    assert answer.status_code == 401
    assert "`mkt serve` printed" in answer.text


def test_a_page_without_a_token_says_what_to_open(stranger: TestClient) -> None:
    answer = stranger.get("/")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert "Open the address that `mkt serve` printed" in answer.text


@pytest.mark.parametrize(
    "header",
    ["Bearer wrong", "Bearer", "Bearer ", f"Basic {TOKEN}", TOKEN, f"Bearer {TOKEN}x", "Bearer é"],
)
def test_a_wrong_token_is_refused(stranger: TestClient, header: str) -> None:
    answer = stranger.get(STATUS, headers={"Authorization": header.encode("latin-1")})
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert answer.json()["status"] == 401


def test_a_wrong_token_in_the_address_is_refused(stranger: TestClient) -> None:
    answer = stranger.get("/?token=wrong")
    assert answer.status_code == 401
    assert "set-cookie" not in answer.headers


def test_the_token_in_the_address_becomes_a_cookie_and_leaves_the_address(
    stranger: TestClient,
) -> None:
    answer = stranger.get(f"/?q=red+ball&token={TOKEN}")
    assert answer.status_code == 303
    assert answer.headers["location"] == "/?q=red+ball"
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith("mkt-8765=")
    assert TOKEN not in cookie
    assert {"httponly", "samesite=strict", "path=/"} <= set(cookie.lower().split("; "))
    assert stranger.get(STATUS).status_code == 200  # the cookie is enough


def test_a_redirect_of_the_token_stays_on_this_server(stranger: TestClient) -> None:
    for path in ("//evil.example/", "/search", "/\\evil.example", "/api/v1/status"):
        answer = stranger.request("GET", f"{ADDRESS}{path}?token={TOKEN}")
        assert answer.status_code == 401
        assert "location" not in answer.headers


@pytest.mark.parametrize("cookie", ["mkt-8765=wrong", f"mkt-8765={TOKEN}", "mkt-1=x", "=;;==\x7f"])
def test_a_wrong_cookie_is_refused(stranger: TestClient, cookie: str) -> None:
    assert stranger.get(STATUS, headers={"Cookie": cookie}).status_code == 401


@pytest.mark.parametrize(
    "host",
    [
        *("127.0.0.1:8765", "localhost:8765", "LOCALHOST:8765", "[::1]:8765", "127.0.0.1"),
        *("localhost:9000", "LocalHost", "[::1]"),
    ],
)
def test_the_names_of_this_machine_are_right(client: TestClient, host: str) -> None:
    assert client.get(STATUS, headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        *("evil.example", "evil.example:8765", "localhost.evil.example", "127.0.0.1.evil.example"),
        *("", "localhost@evil.example", "evil.example@localhost", "localhost/..", "[::1", "a b"),
        *("localhost:x", "0.0.0.0:8765", "192.168.1.5:8765", "localhost#x", "localhost?x"),
    ],
)
def test_another_host_is_refused_even_with_the_token(client: TestClient, host: str) -> None:
    answer = client.get(STATUS, headers={"Host": host})
    assert answer.status_code == 403
    assert "The Host header does not name this server" in answer.json()["detail"]


def test_two_hosts_are_refused(client: TestClient) -> None:
    twice = [("Host", "127.0.0.1:8765"), ("Host", "evil.example"), *BEARER.items()]
    assert client.get(STATUS, headers=twice).status_code in (400, 403)


@pytest.mark.parametrize("host", ["192.168.1.5:8765", "[fe80::1]:8765"])
def test_a_server_on_every_address_answers_to_addresses_but_not_to_foreign_names(
    library: Path, host: str
) -> None:
    with client_of(library, host="0.0.0.0") as open_client:
        assert open_client.get(STATUS, headers={"Host": host}).status_code == 200
        assert open_client.get(STATUS, headers={"Host": "evil.example"}).status_code == 403


def test_a_server_with_a_name_answers_to_it(library: Path) -> None:
    with client_of(library, host="photos.lan") as open_client:
        assert open_client.get(STATUS, headers={"Host": "Photos.LAN:8765"}).status_code == 200
        assert open_client.get(STATUS, headers={"Host": "192.168.1.5"}).status_code == 403


@pytest.mark.parametrize(
    "origin",
    [
        *("http://evil.example", "null", "http://127.0.0.1:9999", "http://localhost:8765", ""),
        *("file://", "http://127.0.0.1:8765.evil.example", "http://127.0.0.1:8765/x"),
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_page_of_another_origin_is_refused(client: TestClient, origin: str, method: str) -> None:
    answer = client.request(method, STATUS, headers={"Origin": origin})
    assert answer.status_code == 403
    assert answer.json()["detail"] == "The request comes from a page of another origin."


def test_our_own_page_is_answered(client: TestClient) -> None:
    headers = {"Origin": ADDRESS, "Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "cors"}
    answer = client.get(STATUS, headers=headers)
    assert answer.status_code == 200
    assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize("site", ["cross-site", "same-site", "odd"])
def test_a_request_that_another_site_caused_is_refused(client: TestClient, site: str) -> None:
    for path in (STATUS, "/static/app.js", "/search", "/"):
        answer = client.get(path, headers={"Sec-Fetch-Site": site, "Sec-Fetch-Mode": "no-cors"})
        assert answer.status_code == 403
        assert "another site" in answer.json()["detail"]


def test_a_link_on_another_site_may_open_the_first_page(stranger: TestClient) -> None:
    headers = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    assert stranger.get(f"/?token={TOKEN}", headers=headers).status_code == 303
    stranger.cookies.clear()  # which a browser does not send with a link on another site
    assert stranger.get("/", headers=headers).status_code == 401


@pytest.mark.parametrize(
    "path",
    [
        *(
            "/static/../app.py",
            "/static/%2e%2e/app.py",
            "/static/..%2fapp.py",
            "/static/....//app.py",
        ),
        *("/static/%2e%2e%5capp.py", "/static//etc/passwd", "/static/%00", "/static/..;/app.py"),
        *("/static/%252e%252e/app.py", "/static/.", "/static/", "/../../etc/passwd"),
    ],
)
def test_tricks_with_paths_reach_no_file(library: Path, path: str) -> None:
    with running(library) as address:
        lines = {"Host": f"127.0.0.1:{address[1]}", **BEARER, "Connection": "close"}
        answer = ask(address, request_head(path, lines))
    assert answer.split(b" ")[1] in (b"404", b"400", b"405")
    assert b"import " not in answer and b"root:" not in answer


@pytest.mark.parametrize("photo", ["%2Fetc%2Fpasswd", "..%2F..%2Fred.png", "red.png", "0", "-1"])
def test_a_photo_is_named_by_its_id_only(client: TestClient, photo: str) -> None:
    answer = client.get(f"/api/v1/photos/{photo}")
    assert answer.status_code in (404, 422)
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("like", ["/etc/passwd", "red.png", "9999"])
def test_a_search_for_likeness_reads_no_file_outside_the_library(
    client: TestClient, like: str
) -> None:
    assert client.get("/api/v1/search", params={"like": like}).status_code in (404, 422)


def test_a_link_among_the_static_files_that_leads_out_is_not_followed(
    client: TestClient, tmp_path: Path
) -> None:
    from starlette.applications import Starlette
    from starlette.staticfiles import StaticFiles

    (tmp_path / "static").mkdir()
    (tmp_path / "secret.txt").write_text("secret")
    (tmp_path / "static" / "link.txt").symlink_to(tmp_path / "secret.txt")
    app = Starlette()
    app.mount("/static", StaticFiles(directory=tmp_path / "static"))
    assert TestClient(app).get("/static/link.txt").status_code == 404


def test_every_answer_restricts_what_a_page_may_do(
    client: TestClient, stranger: TestClient
) -> None:
    answers = [client.get(path) for path in (STATUS, "/", "/nothing")]
    answers += [stranger.get("/"), client.get(STATUS, headers={"Host": "evil.example"})]
    for answer in answers:
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy and "*" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["cross-origin-opener-policy"] == "same-origin"
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"
    assert client.get(STATUS).headers["cache-control"] == "no-store"


def test_a_script_is_asked_for_again_and_sent_only_if_it_has_changed(client: TestClient) -> None:
    script = client.get("/static/app.js")
    assert script.headers["cache-control"] == "no-cache"
    known = {"If-None-Match": script.headers["etag"]}
    assert client.get("/static/app.js", headers=known).status_code == 304


def test_a_read_only_server_changes_nothing(library: Path) -> None:
    with client_of(library, read_only=True) as reader:
        schema = reader.get("/api/v1/openapi.json").json()
        writes = [
            (method, path.replace("{photo}", "1").replace("{run}", "1").replace("{id}", "1"))
            for path, operations in schema["paths"].items()
            for method in operations
            if method != "get"
        ]
        assert writes
        for method, path in writes:
            body = json.dumps({"label": "red", "photos": [1]})
            answer = reader.request(method, path, params={"label": "red"}, content=body)
            assert (answer.status_code, path) == (403, path)
            assert "--read-only" in answer.json()["detail"]
        assert reader.get("/api/v1/status").json()["read_only"] is True


def test_web_sockets_are_refused(client: TestClient) -> None:
    from starlette.websockets import WebSocketDisconnect

    with pytest.raises(WebSocketDisconnect), client.websocket_connect("/api/v1/status"):
        pass


@settings(max_examples=50, deadline=None)
@given(st.text(max_size=40))
def test_any_text_as_host_is_answered_yes_only_for_this_machine(text: str) -> None:
    access = Access(TOKEN, 8765)
    if access.is_host(text):
        name = text.lower().rpartition(":")[0] or text.lower()
        assert name.strip("[]") in ("127.0.0.1", "localhost", "::1", "[::1")


def test_secrets_are_compared_whole() -> None:
    assert same(TOKEN, TOKEN)
    assert not same(TOKEN[:-1], TOKEN) and not same("", TOKEN) and not same("\udcff", TOKEN)
