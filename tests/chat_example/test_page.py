"""The page in a real browser, with somebody on TCP in the same room."""

from __future__ import annotations

import os
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from chat_example.protocol import Joined, Left, Said, Whispered

if TYPE_CHECKING:
    from tests.chat_example.conftest import Browser, Chat, Tab, Visit


CONNECTED = "document.getElementById('state').textContent === 'connected'"


def come_in(browser: Browser, chat: Chat, nick: str, room: str = "lobby") -> Tab:
    tab = browser.open(f"{chat.page}?room={room}")
    tab.write("#nick", nick)
    tab.wait_for(CONNECTED)
    return tab


def test_two_tabs_and_a_terminal_talk(browser: Browser, chat: Chat, visit: Visit) -> None:
    bob = visit(chat.tcp, "bob")
    ada = come_in(browser, chat, "ada")
    assert bob.expect(Joined).nick == "ada"
    eve = come_in(browser, chat, "eve")
    assert bob.expect(Joined).nick == "eve"
    ada.wait_for_text("eve came in")
    ada.wait_for_text("3 here")

    ada.write("#line", "hello from a tab")
    assert bob.expect(Said).text == "hello from a tab"
    eve.wait_for_text("hello from a tab")
    bob.says("hello from TCP")
    ada.wait_for_text("hello from TCP")
    eve.wait_for_text("hello from TCP")
    assert bob.expect(Said).nick == "bob"

    eve.write("#line", "/msg bob between us")
    whisper = bob.expect(Whispered)
    assert (whisper.sender, whisper.text) == ("eve", "between us")
    eve.wait_for_text("to bob privately: between us")
    assert "between us" not in ada.evaluate("document.body.innerText")

    bob.says("/quit")
    ada.wait_for_text("bob left")
    ada.wait_for_text("2 here")


def test_markup_stays_text(browser: Browser, chat: Chat, visit: Visit) -> None:
    bob = visit(chat.tcp, "<b>bob</b>")
    ada = come_in(browser, chat, "ada")
    bob.expect(Joined)
    markup = "<img src=x onerror=document.title='taken'><script>alert(1)</script>"
    bob.says(markup)
    ada.wait_for_text(markup)
    assert ada.evaluate("document.querySelectorAll('#chat img, #chat script, #chat b').length") == 0
    assert "<b>bob</b>" in ada.evaluate("document.getElementById('people').innerText")
    assert ada.evaluate("document.title") != "taken"


def test_a_nickname_that_is_taken_is_asked_for_again(
    browser: Browser, chat: Chat, visit: Visit
) -> None:
    bob = visit(chat.tcp, "bob")
    tab = browser.open(chat.page)
    tab.write("#nick", "bob")
    tab.wait_for_text("somebody else is called bob")
    tab.write("#nick", "rob")
    tab.wait_for(CONNECTED)
    assert bob.expect(Joined).nick == "rob"


def test_rooms_are_links_and_people_are_buttons(browser: Browser, chat: Chat, visit: Visit) -> None:
    bob = visit(chat.tcp, "bob")
    visit(chat.tcp, "cy", "tea")
    ada = come_in(browser, chat, "ada")
    bob.expect(Joined)
    ada.evaluate("document.getElementById('show-rooms').click()")
    ada.wait_for_text("#tea (1)")
    ada.click("#log button", "#tea (1)")
    ada.wait_for("document.getElementById('room').textContent === '#tea'")
    assert bob.expect(Left).why == "went to #tea"
    assert ada.evaluate("location.search") == "?room=tea"
    ada.click("#people button", "cy")
    assert ada.evaluate("document.getElementById('line').value") == "/msg cy "


def test_the_page_comes_back_when_its_connection_is_cut(
    browser: Browser, chat: Chat, visit: Visit
) -> None:
    bob = visit(chat.tcp, "bob")
    ada = come_in(browser, chat, "ada")
    bob.expect(Joined)
    bob.says("before")
    ada.wait_for_text("before")
    (connection,) = [c for c in chat.server.connections if c.identity == "ada"]
    connection.abort()
    bob.says("meanwhile")
    bob.hear("before")
    bob.skip_to(Left, lambda left: left.nick == "ada")
    bob.skip_to(Joined, lambda joined: joined.nick == "ada")
    ada.wait_for(CONNECTED)
    ada.write("#line", "here again")
    bob.skip_to(Said, lambda said: said.text == "here again")
    ada.wait_for_text("here again")
    # What was said meanwhile is shown where it belongs, and nothing twice.
    lines = ada.evaluate("[...document.querySelectorAll('#log .said')].map((e) => e.innerText)")
    for line, text in zip(lines, ["before", "meanwhile", "here again"], strict=True):
        assert text in line
    assert "not everything" not in ada.evaluate("document.body.innerText")


def test_who_comes_in_sees_what_was_said(browser: Browser, chat: Chat, visit: Visit) -> None:
    bob = visit(chat.tcp, "bob")
    bob.says("is anybody there?")
    bob.hear("is anybody there?")
    bob.says("/me waits")
    bob.hear("waits")
    ada = come_in(browser, chat, "ada")
    ada.wait_for_text("is anybody there?")
    ada.wait_for_text("bob waits")


def test_goodbye_leads_back_to_the_door(browser: Browser, chat: Chat, visit: Visit) -> None:
    bob = visit(chat.tcp, "bob")
    ada = come_in(browser, chat, "ada")
    bob.expect(Joined)
    ada.write("#line", "/quit")
    assert bob.expect(Left).why == "left"
    ada.wait_for("!document.getElementById('sign-in').hidden")
    ada.write("#nick", "eve")
    assert bob.expect(Joined).nick == "eve"
    ada.wait_for(CONNECTED)


def test_a_reload_keeps_name_and_room(browser: Browser, chat: Chat, visit: Visit) -> None:
    bob = visit(chat.tcp, "bob", "tea")
    ada = come_in(browser, chat, "ada", "tea")
    bob.expect(Joined)
    ada.command("Page.reload")
    assert bob.expect(Left).nick == "ada"
    assert bob.expect(Joined).nick == "ada"


def test_every_field_and_button_has_a_name(browser: Browser, chat: Chat) -> None:
    tab = come_in(browser, chat, "ada")
    tree = tab.command("Accessibility.getFullAXTree")["nodes"]
    roles = ("textbox", "button", "log", "status")
    nodes: list[Any] = [n for n in tree if n.get("role", {}).get("value") in roles]
    assert {n["role"]["value"] for n in nodes} == set(roles)
    unnamed = [n for n in nodes if not n.get("name", {}).get("value")]
    assert [n["role"]["value"] for n in unnamed] == ["status"]


@pytest.mark.parametrize("width", [360, 1100])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_it_fits(
    browser: Browser, chat: Chat, visit: Visit, tmp_path: Path, width: int, theme: str
) -> None:
    bob = visit(chat.tcp, "Zoë")
    tab = browser.open(chat.page)
    tab.command(
        "Emulation.setDeviceMetricsOverride",
        width=width,
        height=640,
        deviceScaleFactor=1,
        mobile=width < 500,
    )
    media = [{"name": "prefers-color-scheme", "value": theme}]
    tab.command("Emulation.setEmulatedMedia", features=media)
    picture = Path(os.environ.get("CHAT_PICTURES", tmp_path)) / f"{theme}-{width}"
    tab.screenshot(picture.with_suffix(".in.png"))
    tab.write("#nick", "ada")
    tab.wait_for(CONNECTED)
    bob.says("hello ada, how is the weather over there?")
    tab.write("#line", "grey, but the tea is good")
    bob.skip_to(Said, lambda said: said.nick == "ada")
    bob.says("/me pours another cup")
    bob.says("/msg ada there is cake in the kitchen, tell nobody")
    tab.write("#line", "/bogus")
    tab.write("#line", "/rooms")
    bob.says("W" * 100)
    tab.wait_for_text("WWWW")
    tab.wait_for_text("#lobby (2)")
    tab.screenshot(picture.with_suffix(".png"))
    assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert tab.evaluate(
        "['#line', '#compose button', '#room', '#log'].every((each) => {"
        "  const box = document.querySelector(each).getBoundingClientRect();"
        "  return box.width > 0 && box.left >= 0 && box.right <= innerWidth"
        "    && box.top >= 0 && box.bottom <= innerHeight; })"
    )


def test_other_requests(chat: Chat) -> None:
    def ask(path: str, method: str = "GET") -> tuple[int, str, bytes]:
        request = urllib.request.Request(chat.page + path, method=method)
        try:
            answer = urllib.request.urlopen(request, timeout=20)
        except urllib.error.HTTPError as error:
            answer = error
        with answer:
            return answer.status, answer.headers["Content-Type"], answer.read()

    assert ask("")[:2] == (200, "text/html; charset=utf-8")
    assert ask("page.js")[:2] == (200, "text/javascript; charset=utf-8")
    assert ask("?room=tea")[0] == 200
    assert ask("", "HEAD") == (200, "text/html; charset=utf-8", b"")
    assert ask("../rules.py")[0] == 404
    assert ask("", "POST")[0] == 405
