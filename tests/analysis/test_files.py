"""Files that are whole or not there: nothing is written through links, cut off, or left beside."""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path

import pytest

from perdure.analysis.files import LOCK, FolderError, held, regular, sweep, write_beside


def test_a_file_is_made_with_its_folders_and_replaced_whole(tmp_path: Path) -> None:
    write_beside(tmp_path / "a" / "b" / "c.html", b"one")
    write_beside(tmp_path / "a" / "b" / "c.html", b"two")
    assert (tmp_path / "a" / "b" / "c.html").read_bytes() == b"two"
    assert os.listdir(tmp_path / "a" / "b") == ["c.html"]


def test_a_link_is_replaced_and_what_it_leads_to_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.html").write_text("mine")
    (tmp_path / "report.html").symlink_to(tmp_path / "mine.html")
    write_beside(tmp_path / "report.html", b"page")
    assert (tmp_path / "mine.html").read_text() == "mine"
    assert (tmp_path / "report.html").read_bytes() == b"page"
    assert not (tmp_path / "report.html").is_symlink()


@pytest.mark.parametrize("what", ["device", "pipe", "link to a link"])
def test_a_link_to_a_device_or_a_pipe_is_replaced_too(what: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "there").symlink_to("/dev/null")
    to = {"device": Path("/dev/null"), "pipe": tmp_path / "pipe", "link to a link": tmp_path / "there"}[what]
    (tmp_path / "report.html").symlink_to(to)
    write_beside(tmp_path / "report.html", b"page")
    assert not (tmp_path / "report.html").is_symlink()
    assert (tmp_path / "report.html").read_bytes() == b"page"
    assert (tmp_path / "there").is_symlink()


@pytest.mark.skipif(not Path("/dev/fd").exists(), reason="no /dev/fd")
def test_the_systems_own_links_are_written_through() -> None:
    reader, writer = os.pipe()
    try:
        write_beside(f"/dev/fd/{writer}", b"page")
        assert os.read(reader, 10) == b"page"
    finally:
        os.close(reader)
        os.close(writer)


def test_a_link_in_the_locks_place_makes_nothing_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / LOCK).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FolderError, match="expected a folder that can be written"), held(tmp_path / "run"):
        pass
    assert not (tmp_path / "elsewhere").exists()


def test_a_pipe_is_written_to(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(FolderError, match="nobody reads"):
        write_beside(tmp_path / "pipe", b"page")
    # More than a pipe holds: the writer waits for the reader.
    page, found = b"page" * 50_000, b""
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    os.set_blocking(reader, True)
    writer = threading.Thread(target=write_beside, args=(tmp_path / "pipe", page))
    writer.start()
    while len(found) < len(page):
        found += os.read(reader, len(page))
    writer.join()
    os.close(reader)
    assert found == page


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_failure_leaves_what_was_there(step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "somewhere")

    write_beside(tmp_path / "a", b"before")
    monkeypatch.setattr(os, step, full)
    with pytest.raises(FolderError) as caught:
        write_beside(tmp_path / "a", b"after")
    found = f"{tmp_path / 'a'}: No space left on device"
    assert str(caught.value) == f"expected a file that can be written; found {found}"
    assert (tmp_path / "a").read_bytes() == b"before"
    assert os.listdir(tmp_path) == ["a"]


def test_a_disk_that_cannot_be_asked_to_write_through_is_none_that_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(file: int) -> None:
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(os, "fsync", refuse)
    write_beside(tmp_path / "a", b"whole")
    assert (tmp_path / "a").read_bytes() == b"whole"


@pytest.mark.parametrize("place", ["folder", "file/inside", "no\0name"])
def test_a_place_that_cannot_be_written_is_one_line(place: str, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("")
    with pytest.raises(FolderError, match="expected a file that can be written"):
        write_beside(tmp_path / place, b"page")
    assert sorted(os.listdir(tmp_path)) == ["file", "folder"]
    assert os.listdir(tmp_path / "folder") == []


def test_only_drafts_are_swept(tmp_path: Path) -> None:
    names = [".perdure-0123456789abcde", ".perdure-0123456789abcdefg", "perdure-0123456789abcdef", ".hidden"]
    for name in (*names, ".perdure-0123456789abcdef"):
        (tmp_path / name).write_text("")
    (tmp_path / ".perdure-1123456789abcdef").symlink_to(tmp_path / ".hidden")
    (tmp_path / ".perdure-2123456789abcdef").mkdir()
    sweep(tmp_path)
    sweep(tmp_path / "nowhere")
    left = [*names, ".perdure-1123456789abcdef", ".perdure-2123456789abcdef"]
    assert sorted(os.listdir(tmp_path)) == sorted(left)


def test_a_folder_is_held_by_one_and_folders_made_for_nothing_go(tmp_path: Path) -> None:
    with held(tmp_path / "a" / "b"):
        assert os.listdir(tmp_path / "a" / "b") == [LOCK]
        with pytest.raises(FolderError, match="another is at work in"), held(tmp_path / "a" / "b"):
            pass
        assert os.listdir(tmp_path / "a" / "b") == [LOCK]
    assert os.listdir(tmp_path) == []
    with held(tmp_path / "a" / "b"):
        (tmp_path / "a" / "mine").write_text("")
    assert os.listdir(tmp_path / "a") == ["mine"]


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "lost").symlink_to(tmp_path / "nowhere")
    for place in ("file", "file/inside", "lost"):
        with (
            pytest.raises(FolderError, match="expected a folder that can be written"),
            held(tmp_path / place),
        ):
            pass
    assert sorted(os.listdir(tmp_path)) == ["file", "lost"]


def test_what_may_never_end_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    (tmp_path / "link").symlink_to("file")
    assert regular(tmp_path / "link").read_bytes() == b"x"
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "zero").symlink_to("/dev/zero")
    for name in ("pipe", "zero"):
        with pytest.raises(OSError, match="pipe or a device"):
            regular(tmp_path / name)


def test_a_name_that_no_folder_can_have_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(FolderError, match="null"), held(tmp_path / "a\0b"):
        pass
    assert os.listdir(tmp_path) == []
