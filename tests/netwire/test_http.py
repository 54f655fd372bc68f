from __future__ import annotations

import pytest

from netwire import Headers, Request, Response


def test_headers_are_found_in_any_case_and_joined() -> None:
    headers = Headers((("Accept", "a"), ("X-One", "1"), ("accept", "b")))
    assert headers["ACCEPT"] == "a, b"
    assert headers.get_all("Accept") == ["a", "b"]
    assert headers.get_all("x-two") == []
    assert headers.get("x-two") is None
    assert list(headers) == ["accept", "x-one"]
    assert len(headers) == 2
    assert repr(headers) == "Headers((('Accept', 'a'), ('X-One', '1'), ('accept', 'b')))"
    with pytest.raises(KeyError):
        headers["x-two"]


LINES = (("Host", "a:80"), ("X-One", ""), ("Accept", "a, b"), ("x-one", "1:2"))


@pytest.mark.parametrize("lines", [LINES, LINES[:1], (("X-One", ""),), ()])
def test_packed_headers_say_what_they_said(lines: tuple[tuple[str, str], ...]) -> None:
    headers, packed = Headers(lines), Headers(lines)
    packed.pack()
    for _ in range(2):
        assert packed.lines == lines
        assert packed == headers
        assert packed.get_all("x-one") == headers.get_all("x-one")
        assert repr(packed) == repr(headers)
        packed.pack()


def test_a_request_tells_its_path_and_query() -> None:
    request = Request(target="/a%20b?room=one&room=two%21&empty=")
    assert request.path == "/a%20b"
    assert request.query == {"room": ["one", "two!"], "empty": [""]}
    assert Request().path == "/"
    assert Request().query == {}


def test_a_response_with_a_body() -> None:
    response = Response(200, "grün", headers=(("X-One", "1"),))
    assert response.encode() == (
        b"HTTP/1.1 200 OK\r\n"
        b"X-One: 1\r\n"
        b"Content-Length: 5\r\n"
        b"Connection: close\r\n"
        b"Content-Type: text/plain; charset=utf-8\r\n"
        b"\r\n"
        b"gr\xc3\xbcn"
    )
    assert response.encode(head_only=True) == response.encode().removesuffix(b"gr\xc3\xbcn")


def test_a_response_without_a_body_names_no_type() -> None:
    assert Response(404).encode() == (
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    )


@pytest.mark.parametrize(
    "header", [("X-One", "1\r\nX-Two: 2"), ("X-One\n", "1"), ("X-One", "\0")], ids=repr
)
def test_a_header_cannot_smuggle_another(header: tuple[str, str]) -> None:
    with pytest.raises(ValueError, match="holds a line break"):
        Response(headers=(header,)).encode()


def test_a_status_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="299"):
        Response(299).encode()
