"""The examples of the documentation: how pages are read, and that what is wrong in one is found."""

import os
from pathlib import Path

import pytest
from script import load_script

ROOT = Path(__file__).parents[2]
check_docs = load_script("check_docs")
Block, blocks_of, compared, matches, words = (
    check_docs.Block, check_docs.blocks_of, check_docs.compared, check_docs.matches, check_docs.words,
)  # fmt: skip
broken_links, meeting_outputs, run_block = check_docs.broken_links, check_docs.meeting_outputs, check_docs.run_block
PAGE = """# Title

```sh
echo one
```

```
one
```

<!-- long -->
```python
print(2)
```

<!-- skip: needs the data -->
```sh
false
```

Prose between a block and its output:

```
nothing
```

```yaml
key: value
```
"""


def test_blocks_are_read_with_their_outputs_and_marks() -> None:
    assert blocks_of(PAGE) == [
        Block("sh", "echo one\n", 3, "one\n"),
        Block("python", "print(2)\n", 12, long=True),
        Block("sh", "false\n", 17, "nothing\n", skip="needs the data"),
    ]


def test_an_output_does_not_follow_across_a_heading() -> None:
    assert blocks_of("```sh\necho\n```\n## Next\n```\nfree text\n```\n")[0].output is None


def test_a_block_that_is_not_closed_is_an_error() -> None:
    with pytest.raises(ValueError, match="line 1"):
        blocks_of("```sh\necho\n")


def test_seconds_are_always_masked_and_numbers_where_they_do_not_count() -> None:
    line = "12 requested = 12 valid; range 1.261..1.739; 4.2 s; written  to x.sdf"
    assert words(line) == ["# requested = # valid; range #..#; #; written to x.sdf"]
    assert words(line, numbers=True) == ["12 requested = 12 valid; range 1.261..1.739; #; written to x.sdf"]
    assert words("-0.32, 1,000 and 1e-4\n\n") == ["#, # and #"]


@pytest.mark.parametrize(
    ("expected", "found", "same"),
    [
        (["a", "..."], ["a", "b", "c"], True),
        (["...", "c"], ["a", "b", "c"], True),
        (["a", "...", "c"], ["a", "c"], True),
        (["a", "...", "d"], ["a", "b", "c"], False),
        (["a"], ["a", "b"], False),
        (["a"], [], False),
        ([], [], True),
    ],
)
def test_dots_stand_for_any_lines(expected: list[str], found: list[str], same: bool) -> None:
    assert matches(expected, found) == same


def test_words_and_numbers_are_told_apart() -> None:
    assert compared("3 valid; 1.0 s\n", "3 valid; 2.5 s\n") == ("ok", "")
    assert compared("3 valid\n", "4 valid\n")[0] == "numbers differ"
    status, shown = compared("3 valid\n", "3 sound\n")
    assert status == "words differ" and "-3 valid" in shown and "+3 sound" in shown
    progress = "info: 56 of 100 molecules in 3 min 10 s, 2 min 29 s left\ninfo: 2000 records in 27 min 10 s\n"
    progress += "info: 83 % of the work in 2 min 00 s, 24 s left\n"
    assert compared("3 valid\n", f"{progress}3 valid\n") == ("ok", ""), "a slow machine is no fault of the page"
    assert compared("3 valid\n", "info: 5 of 9 molecules are sound\n3 valid\n")[0] == "words differ"


def test_a_failing_command_is_found(tmp_path: Path) -> None:
    result = run_block(Block("sh", "false | cat\necho never\n", 1), tmp_path, dict(os.environ))
    assert result.status == "failed" and "never" not in result.shown


def check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, *options: str) -> int:
    monkeypatch.setattr(check_docs, "COPIED", ("data/sample.sdf",))
    page = tmp_path / "page.md"
    page.write_text(text)
    return check_docs.main([str(page), *options])


def test_blocks_of_a_page_share_a_folder_and_long_ones_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = "```sh\nls data > seen\n```\n```sh\ncat seen\n```\n```\nsample.sdf\n```\n<!-- long -->\n```sh\nfalse\n```\n"
    assert check(tmp_path, monkeypatch, text) == 0
    assert "skipped" in capsys.readouterr().out
    assert check(tmp_path, monkeypatch, text, "--long") == 1


def test_a_differing_block_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert check(tmp_path, monkeypatch, "```sh\necho two words\n```\n```\nother words\n```\n") == 1
    assert "-other words" in capsys.readouterr().out
    assert check(tmp_path, monkeypatch, "```sh\necho 2 words\n```\n```\n3 words\n```\n") == 0
    assert check(tmp_path, monkeypatch, "```sh\necho 2 words\n```\n```\n3 words\n```\n", "--numbers") == 1


def test_broken_links_are_found(tmp_path: Path) -> None:
    (tmp_path / "other.md").write_text("# One, two: `three`\n")
    page = tmp_path / "page.md"
    page.write_text(
        "[a](other.md) [b](other.md#one-two-three) [c](https://x.y) [d](gone.md) [e](other.md#four) [f](#g)"
        " `C[C@H](O)N` [`h`](gone)"
    )
    assert broken_links(page) == ["gone.md", "other.md#four", "#g", "gone"]


@pytest.mark.parametrize(
    "page", [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))], ids=lambda page: page.name
)
def test_pages_can_be_read_and_their_links_lead_somewhere(page: Path) -> None:
    blocks_of(page.read_text(encoding="utf-8"))
    assert broken_links(page) == []


def test_outputs_that_meet_are_found(tmp_path: Path) -> None:
    one, other = tmp_path / "one.md", tmp_path / "other.md"
    one.write_text(
        "```sh\nmoldiff generate -o a.sdf\nmoldiff generate -o a.sdf --resume\n```\n"
        '```sh\nprintf C > b.smi\nmoldiff filter b.smi --where "mw > 3" -o folder/\n```\n'
        "<!-- skip: your data -->\n```sh\nmoldiff data prepare mine.sdf -o data/mine\n```\n"
    )
    other.write_text(
        "```sh\nmoldiff generate -o a.smi.gz\nmoldiff show a.sdf -o a.png\n```\n"
        "<!-- skip: your data -->\n```sh\nmoldiff data prepare mine.sdf -o data/mine\n```\n"
        "```sh\nmoldiff generate -o c.csv --overwrite\nmoldiff generate -o a.csv --overwrite\n```\n"
        '```python\nmoldiff.screen("a.sdf", "folder", top=3)\n```\n'
        "<!-- skip: installs -->\n```sh\nmoldiff generate -o b.sdf\n```\n"
    )
    assert meeting_outputs([one, other]) == [
        "other.md:1: a.* is an output of one.md:1 too",
        "other.md:13: folder is an output of one.md:5 too",
        "other.md:17: b.* is an output of one.md:5 too",
    ]


def test_all_examples_run_in_one_clone() -> None:
    assert meeting_outputs(check_docs.PAGES) == [], "a reader runs README and every page in the folder of the clone"
