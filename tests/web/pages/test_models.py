"""The page Models in a real browser: what the model is, and jobs."""

import re

from playwright.sync_api import expect

from tests.tiny import paint
from tests.web.pages.served import Served, Visit


def test_the_model_is_described(seen: Visit) -> None:
    page = seen.go("/models")
    expect(page.get_by_text("Fingerprint")).to_be_visible()
    expect(page.get_by_text("There is no calibrator")).to_be_visible()
    expect(page.get_by_text("None is kept.")).to_be_visible()


def test_a_job_indexes_new_photos_which_are_found_then(own: Visit, own_server: Served) -> None:
    paint(own_server.home / "photos" / "new.png", "red", {(1, 1): "blue"})
    page = own.go("/models")
    page.get_by_role("button", name="Look for new photos").click()
    expect(page.get_by_role("listitem").filter(has_text="index done")).to_be_visible(timeout=60_000)
    page.goto(f"{own_server.address}/library")
    expect(page.get_by_text("7 photos")).to_be_visible()
    assert not own.errors


def test_proposing_tags_makes_a_queue(own: Visit, own_server: Served) -> None:
    page = own.go("/models")
    page.get_by_role("button", name="Propose tags").click()
    job = page.get_by_role("listitem").filter(has_text=re.compile("tag (done|failed)"))
    expect(job).to_be_visible(timeout=60_000)
    assert not own.errors


def test_a_job_of_a_killed_server_leaves_the_library_whole(own: Visit, own_server: Served) -> None:
    for number in range(30):
        paint(own_server.home / "photos" / f"more{number}.png", (8 * number, 0, 0))
    page = own.go("/models")
    page.get_by_role("button", name="Look for new photos").click()
    own_server.kill()
    own_server.start()
    page.goto(f"{own_server.address}/models")
    page.get_by_role("button", name="Look for new photos").click()
    expect(page.get_by_role("listitem").filter(has_text="index done")).to_be_visible(timeout=60_000)
    page.goto(f"{own_server.address}/library")
    expect(page.get_by_text("36 photos")).to_be_visible()
