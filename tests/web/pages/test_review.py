"""The page Review in a real browser: decisions by keys, undo, batches, two tabs, a dead server."""

from pathlib import Path

from playwright.sync_api import Page, expect

from tests.command_line import columns, mkt
from tests.web.pages.served import Served, Visit, number

QUEUE = "/review?run=2&label=red"


def human_tags(home: Path) -> list[str]:
    """The names of the photos that a person tagged red."""
    rows = columns(mkt("tags", "--source", "human", "--tag", "red", "--library", home))
    return sorted(Path(row[0]).name for row in rows)


def refused(home: Path) -> list[str]:
    """The names of the photos of which a person said that they are not red."""
    rows = columns(mkt("tags", "--refused", "--library", home))
    return sorted(Path(row[0]).name for row in rows if "red" in row)


def shown(page: Page) -> str:
    """The name of the photo to decide."""
    image = page.locator(".single img")
    expect(image).to_be_visible()
    return image.get_attribute("alt") or ""


def press(page: Page, key: str) -> None:
    """Press a key and wait until every decision has arrived."""
    page.keyboard.press(key)
    expect(page.get_by_text("not sent yet")).to_have_count(0)


def undecided(page: Page, served: Served, label: str = "red") -> int:
    """How many photos of a label are to decide, as the page lists it."""
    page.goto(f"{served.address}/review")
    row = page.get_by_role("row").filter(has=page.get_by_role("link", name=label, exact=True))
    return number(row.get_by_role("cell").nth(2).text_content())


def test_a_session_by_keys_alone(own: Visit, own_server: Served) -> None:
    page = own.go("/review")
    before = undecided(page, own_server)
    page.get_by_role("link", name="red", exact=True).click()
    first = shown(page)
    press(page, "a")
    expect(page.get_by_text("1 accepted, 0 rejected")).to_be_visible()
    second = shown(page)
    assert second != first
    press(page, "x")
    third = shown(page)
    page.keyboard.press(" ")
    assert shown(page) not in (first, second, third)
    page.keyboard.press("ArrowLeft")
    assert shown(page) == third
    assert first in human_tags(own_server.home)
    assert second in refused(own_server.home)
    assert undecided(page, own_server) <= before - 2
    assert not own.errors


def test_undo_takes_back_one_decision_after_the_other_also_after_a_reload(
    own: Visit, own_server: Served
) -> None:
    page = own.go(QUEUE)
    first = shown(page)
    press(page, "a")
    second = shown(page)
    press(page, "x")
    press(page, "z")
    expect(page.locator(".single img")).to_have_attribute("alt", second)
    assert not refused(own_server.home)
    page.reload()
    shown(page)
    page.keyboard.press("z")
    expect(page.get_by_text("Took back a decision on red.")).to_be_visible()
    assert not human_tags(own_server.home)
    tags = mkt("tags", "--tag", "red", "--source", "auto", "--library", own_server.home).stdout
    assert first in tags  # the automatic tag is there again
    page.keyboard.press("z")
    expect(page.get_by_text("There is no decision to take back.")).to_be_visible()
    assert not own.errors


def test_a_batch_is_accepted_but_for_the_marked_photos(own: Visit, own_server: Served) -> None:
    page = own.go(f"{QUEUE}&view=batch")
    tiles = page.locator(".tile")
    expect(tiles.first).to_be_visible()
    count = tiles.count()
    wrong = (tiles.nth(1).get_attribute("aria-label") or "").split(",")[0]
    tiles.nth(1).click()
    expect(tiles.nth(1)).to_have_attribute("aria-pressed", "true")
    expect(page.get_by_role("button", name=f"Accept {count - 1}, reject 1")).to_be_visible()
    press(page, "c")
    expect(page.get_by_text("Nothing is left to decide for red.")).to_be_visible()
    assert wrong in refused(own_server.home)
    assert wrong not in human_tags(own_server.home)
    page.keyboard.press("Escape")
    expect(page.get_by_text("Proposed tags")).to_be_visible()
    page.keyboard.press("z")
    expect(page.get_by_text(f"Took back {count} decisions on red.")).to_be_visible()
    assert not human_tags(own_server.home)
    assert not own.errors


def test_two_tabs_lose_no_decision(own: Visit, own_server: Served) -> None:
    one, other = own.go(QUEUE), own.tab()
    other.goto(own_server.address + QUEUE)
    first, same = shown(one), shown(other)
    assert first == same
    press(one, "a")
    press(other, "x")  # the last one counts
    second = shown(other)
    press(other, "a")
    assert first in refused(own_server.home)
    assert human_tags(own_server.home) and second in human_tags(own_server.home)
    assert not own.errors


def test_a_decision_while_the_server_is_down_arrives_when_it_is_up_again(
    own: Visit, own_server: Served
) -> None:
    page = own.go(QUEUE)
    first = shown(page)
    press(page, "a")
    second = shown(page)
    own_server.kill()
    page.keyboard.press("x")
    expect(page.get_by_text("1 not sent yet")).to_be_visible()
    expect(page.get_by_text("The server does not answer.")).to_be_visible()
    page.close()  # the browser keeps it
    own_server.start()
    page = own.tab()
    page.goto(own_server.address + QUEUE)
    shown(page)
    expect(page.get_by_text("not sent yet")).to_have_count(0)
    assert first in human_tags(own_server.home)
    assert second in refused(own_server.home)


def test_decisions_of_several_tabs_are_kept_while_the_server_is_down(
    own: Visit, own_server: Served
) -> None:
    one, other = own.go(QUEUE), own.tab()
    other.goto(own_server.address + QUEUE)
    first = shown(other)
    press(other, " ")
    second = shown(other)
    assert shown(one) == first
    own_server.kill()
    one.keyboard.press("a")
    expect(one.get_by_text("1 not sent yet")).to_be_visible()
    other.keyboard.press("x")
    expect(other.get_by_text("2 not sent yet")).to_be_visible()
    one.close()
    other.close()
    own_server.start()
    page = own.tab()
    page.goto(own_server.address + QUEUE)
    expect(page.get_by_text("0 accepted, 0 rejected", exact=True)).to_be_visible()
    assert first in human_tags(own_server.home)
    assert second in refused(own_server.home)


def test_a_decision_waits_for_the_token_of_a_new_server(own: Visit, own_server: Served) -> None:
    page = own.go(QUEUE)
    first = shown(page)
    own_server.kill()
    page.keyboard.press("a")
    expect(page.get_by_text("1 not sent yet")).to_be_visible()
    token = own_server.new_token()
    own_server.start()
    expect(page.get_by_role("button", name="Try again").first).to_be_visible()
    page.goto(f"{own_server.address}/?token={token}")
    page.goto(own_server.address + QUEUE)
    expect(page.get_by_text("0 accepted, 0 rejected", exact=True)).to_be_visible()
    assert first in human_tags(own_server.home)


def test_a_key_that_is_held_decides_once_and_capitals_count(own: Visit, own_server: Served) -> None:
    page = own.go(QUEUE)
    first = shown(page)
    for _ in range(4):
        page.keyboard.down("A")
    page.keyboard.up("A")
    expect(page.get_by_text("1 accepted, 0 rejected", exact=True)).to_be_visible()
    assert first in human_tags(own_server.home)


def test_space_skips_after_a_click_on_accept(own: Visit) -> None:
    page = own.go(QUEUE)
    shown(page)
    page.get_by_role("button", name="Accept").click()
    second = shown(page)
    page.keyboard.press(" ")
    assert shown(page) != second
    expect(page.get_by_text("1 accepted, 0 rejected", exact=True)).to_be_visible()


def test_a_decision_of_before_is_shown_again_when_it_is_taken_back(own: Visit) -> None:
    page = own.go(QUEUE)
    first = shown(page)
    press(page, "a")
    expect(page.locator(".single img")).not_to_have_attribute("alt", first)
    page.reload()
    expect(page.locator(".single img")).not_to_have_attribute("alt", first)
    page.keyboard.press("z")
    expect(page.locator(".single img")).to_have_attribute("alt", first)
