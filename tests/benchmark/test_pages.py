"""The documents as they are written from results: from ours, and from small ones, measured here."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmark.__main__ import main
from benchmark.commands import all_kept
from benchmark.errors import BenchmarkError
from benchmark.kept import Kept
from benchmark.pages import NOT_MEASURED, Pages, fill

ROOT = Path(__file__).parents[2]


def test_what_is_committed_is_what_the_results_say(capfd: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    assert main(["report", "--check"]) == 0, capfd.readouterr().err


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of some benchmarks that are kept, really measured."""
    results = tmp_path_factory.mktemp("results")
    for name, *options in (
        ("echo", "--cases", "ws,deflate", "--peers", "websockets"),
        ("mixed", "--peers", "", "--strict", "2", "--slow", "1", "--hold", "0.001"),
        ("idle-cpu",),
    ):
        quick = next(kept.quick for kept in all_kept() if kept.name == name)
        assert main([name, *quick, *options, "--json", str(results / f"{name}.json")]) == 0
    return results


def copy_documents(root: Path) -> None:
    (root / "docs").mkdir()
    for name in ("README.md", "docs/benchmarks.md"):
        (root / name).write_text((ROOT / name).read_text())


def test_the_documents_are_written_from_results(
    measured: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib")
    copy_documents(tmp_path)
    command = ["report", "--results", str(measured), "--root", str(tmp_path)]
    assert main([*command, "--check"]) == 1
    assert "docs/benchmarks.md, docs/echo.svg, docs/mixed.svg: not what" in capfd.readouterr().err
    assert not (tmp_path / "docs" / "echo.svg").exists()
    assert main(command) == 0
    assert main([*command, "--check"]) == 0
    page = (tmp_path / "docs" / "benchmarks.md").read_text()
    # broadcast, moves, hostile, idle-memory, policy, kill, outage, and four of cluster
    assert page.count(NOT_MEASURED) == 11
    (case, *_) = json.loads((measured / "echo.json").read_text())["cases"]
    ours, theirs = (
        case["summary"][name]["messages_per_second"] for name in ("foreman", "websockets")
    )
    assert f"| WebSocket, 128 B, 1 in flight | {ours:,.0f} | {theirs:,.0f} |" in page
    verdict = "met" if ours / theirs >= 2.5 else "not met"
    assert f"over websockets | {ours / theirs:.2f} | at least 2.50 | {verdict} |" in page
    assert "foreman answered the offer of compression with 'permessage-deflate" in page
    (tmp_path / "README.md").write_text(page.replace(f"{ours:,.0f}", "1"))  # typed by hand
    assert main([*command, "--check"]) == 1


def test_a_picture_of_other_results_is_drawn_anew(measured: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    copy_documents(tmp_path)
    pages = Pages(kept=all_kept(), results=measured, root=tmp_path)
    assert len(pages.update(write=True)) == 4
    assert pages.update(write=False) == []
    picture = tmp_path / "docs" / "mixed.svg"
    picture.write_text((tmp_path / "docs" / "echo.svg").read_text())
    assert pages.update(write=False) == [picture]


def test_what_was_not_measured_says_so(tmp_path: Path) -> None:
    copy_documents(tmp_path)
    pages = Pages(kept=all_kept(), results=tmp_path / "none", root=tmp_path)
    pages.update(write=True)
    text = (tmp_path / "docs" / "benchmarks.md").read_text()
    assert text.count(NOT_MEASURED) == text.count("<!-- benchmark:")


def test_between_the_markers_only() -> None:
    text = "a\n<!-- benchmark:x -->\nold\n\nold\n<!-- end -->\nb <!-- benchmark:y -->\n"
    filled = fill(text, lambda name: f"new {name}\n")
    assert filled == "a\n<!-- benchmark:x -->\nnew x\n<!-- end -->\nb <!-- benchmark:y -->\n"
    assert fill(filled, lambda name: f"new {name}") == filled


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("<!-- benchmark:x -->\n", "benchmark:x --> has no <!-- end -->"),
        ("<!-- benchmark:x -->\n<!-- benchmark:y -->\n<!-- end -->\n", "benchmark:x --> has no"),
        ("<!-- end -->\n", "<!-- end --> without a beginning"),
    ],
)
def test_markers_that_do_not_match_are_an_error(text: str, says: str) -> None:
    with pytest.raises(BenchmarkError, match=says):
        fill(text, lambda _name: "")


def test_unknown_markers_and_broken_results_are_errors(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("<!-- benchmark:y -->\n<!-- end -->\n")
    kept = Kept(name="x", blocks={"y": lambda results: str(results["figure"])})
    (tmp_path / "x.json").write_text("{")
    with pytest.raises(BenchmarkError, match=r"x\.json is no JSON"):
        Pages(kept=[kept], results=tmp_path, root=tmp_path).update(write=True)
    (tmp_path / "x.json").write_text('{"figure": 7}')
    Pages(kept=[kept], results=tmp_path, root=tmp_path).update(write=True)
    assert "\n7\n" in (tmp_path / "README.md").read_text()
    with pytest.raises(BenchmarkError, match="no benchmark has a block 'y'"):
        Pages(kept=[], results=tmp_path, root=tmp_path).update(write=True)


def test_all_goes_on_after_a_failure(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from benchmark.commands import idle_memory

    impossible = Kept(name="idle-memory", arguments=("--connections", "10000000"))
    monkeypatch.setattr(idle_memory, "KEPT", impossible)
    options = ["--quick", "--only", "idle-memory,idle-cpu", "--results", str(tmp_path)]
    assert main(["all", *options]) == 1
    shown = capfd.readouterr()
    assert "failed: idle-memory" in shown.err
    assert "descriptors" in shown.out
    assert [path.name for path in tmp_path.iterdir()] == ["idle-cpu.json"]
    assert main(["all", "--only", "nothing"]) == 1
